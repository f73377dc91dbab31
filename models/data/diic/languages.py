"""Whether a text is English, told by common words: those of English, and those of other languages in Latin script.

Words that English shares with another language ("die", "van", "hat") are in neither list and say nothing. Accents are
taken off before words are compared: models leave them out as people do.
"""

from __future__ import annotations

import re
import unicodedata

_ENGLISH_WORDS = """
the of to and is are were be been being it its this that these those there here their they them he she his her him we
our us you your i my who which what where when while with without at by from into onto through across along around
about above below behind beside besides between beyond inside outside near toward towards against among off out up
down upon within until since because if then than or but not nor only just very more most much many few some any each
every both either neither other another several same such own too also again even almost nearly quite rather has have
had having does did done can could will would shall should may might must one two three four five six seven eight nine
ten dozen half pair group row line first second third next last left right top bottom middle center centre front back
side corner edge upper lower foreground background distance move moves moved moving make makes made let turn turns
turned turning add adds added remove removes removed take takes put puts place places change changes changed replace
replaces bring brings show shows showing keep keeps give gives get gets go goes going went gone become becomes appear
appears disappear disappears enter enters leave leaves leaving raise raises lift lifts drop drops fall falls fell
falling rise rises rising open opens opened close closes closed pull pulls push pushes shift shifts shifted slide
slides rotate rotates tilt tilts bend bends spread spreads swing swings walk walks walked walking run runs running
stand stands standing stood sit sits sitting sat lie lies lying lay ride rides riding drive drives driving drove fly
flies flying swim swims swimming jump jumps jumping hold holds holding held wear wears wearing carry carries carrying
look looks looking facing face faces pass passes passing past play plays playing eat eats eating drink drinks drinking
throw throws catch catches reach reaches touch touches cross crosses stretch stretches hang hangs hanging lean leans
leaning cover covers covered fill fills filled surround surrounded growing grow grows shrink shrinks float floats wave
waves smile smiles smiling talk talks speak speaks cut cuts slowly quickly slightly further farther closer away
forward forwards backward backwards together apart clockwise red green blue yellow black white brown grey gray pink
purple golden silver dark light bright pale colorful colourful coloured colored striped spotted checkered plain wooden
metal stone brick glass plastic leather paper big bigger biggest small smaller smallest little large larger tall
taller short shorter long longer wide narrow high low thick thin huge tiny round square flat deep heavy old older
young younger new empty full wet dry cold hot soft hard clean dirty shiny sunny cloudy rainy snowy foggy blurry clear
busy quiet single whole tidy woman women men boy boys girl girls child children baby people person persons crowd
couple player players rider driver dog dogs cat cats horse horses cow cows sheep goat goats bird birds duck ducks fish
bear lion monkey mouse rabbit elephant snail snails animal animals insect bee butterfly car cars truck trucks boat
boats ship ships plane planes airplane aircraft bike bikes bicycle bicycles motorcycle cyclist vehicle vehicles wheel
wheels road roads street streets lane path bridge sidewalk pavement traffic house houses building buildings roof wall
walls window windows door doors fence tower church shop room kitchen floor ceiling stairs bed bedroom desk chair
chairs couch shelf shelves cup bottle bowl knife fork spoon box bag book books phone screen computer keyboard lamp
clock picture pictures sign signs letter letters tree trees leaf bush bushes flower flowers grass lawn field fields
forest woods hill hills mountain mountains river lake sea ocean beach shore sky cloud clouds sun sunlight moon star
stars rain snow ice fire smoke shadow shadows rock rocks ground water dirt dust mud meadow garden yard farm head hair
eye eyes nose mouth ear ears neck shoulder shoulders arms leg legs foot feet hands fingers tail wing wings shirt dress
coat jacket trousers pants jeans shoe shoes boots hats helmet gloves glasses scarf umbrella view scene camera image
frame photo photograph drawing painting cartoon night day morning evening thing things part parts piece pieces coffee
bread cake apple apples food fruit plate
"""

_OTHER_WORDS = """
der das dem ein eine einen einem einer eines und ist sind mit auf nach vom von zum zur im ins bei aus vor hinter neben
zwischen nicht auch wird werden sich sie wir ich ihr seine ihre zwei drei vier rote roter rotes roten blau blaue
blauer blaues blauen grun grune gruner grunes grunen schwarz schwarze schwarzer schwarzes weiss weisse weisser weisses
gelb gelbe gelber gelbes grosse grosser grosses klein kleine kleiner kleines kleinen alte altes alten junge junger
mann manner frau frauen kinder madchen katze hund hunde haus hauser baum baume strasse himmel wiese wasser vogel pferd
fahrrad tisch fenster rechts oben unten bewege bewegen bewegt verschiebe verschieben entferne fuge hinzu mache steht
fahrt lauft liegt sitzt hintergrund vordergrund bild

le les un une du des et est dans avec sur vers aux qui que au deux trois quatre pas elle ils il ses leur cette ces
chien voiture voitures homme hommes femme femmes enfant enfants maison maisons arbre arbres ciel herbe fleur fleurs
oiseau oiseaux cheval vache bateau avion velo camion rouge rouges bleu bleue bleus vert verte verts noir noire noirs
blanc blanche blancs jaune gris grise petit petits gauche droite haut derriere devant entre ajoute ajouter ajoutez
deplace deplacer deplacez bouge bouger enleve enlever supprime supprimer fait faire rends fenetre montagne eau mer
arriere vieil vieille jeune fille garcon

el los las una unos unas y con del por para es en sobre hacia desde esta este estan muy pero como de la se su sus gato
gatos gata perro perros coche coches carro carros hombre hombres mujer mujeres nino ninos nina arbol arboles calle
cielo rojo roja rojos azul azules verde verdes negro negra blanco blanca amarillo amarilla grande grandes pequeno
pequena viejo vieja izquierda derecha arriba abajo mueve mover mueva muevan anade anadir agrega agregar quita quitar
elimina eliminar haz hierba agua flor flores pajaro caballo barco puerta ventana personas gente bicicleta luz tres
casa casas delante detras fondo

gli uno di della dei delle dello nel nella nei sul sulla che sono rosso rossa rossi azzurro nero nera bianco bianca
giallo gialla gatto macchina uomo uomini donna donne bambino bambina bambini albero alberi strada cielo acqua erba
destra sinistra sposta spostare aggiungi aggiungere rimuovi rimuovere verso sopra sotto accanto davanti dietro piccolo
piccola vecchio vecchia fiore fiori uccello cavallo barca sfondo

os um uma uns umas da das na nas nos em com pelo pela ao aos estao sao nao mais muito cachorro cao homem homens mulher
mulheres crianca criancas menino menina arvore arvores rua ceu vermelho vermelha preto preta branco branca amarelo
esquerda direita cima baixo mova adicione adicionar remova remover grama passaro cavalo dois duas tras frente velho
velha

de het een en naar op voor achter naast onder tussen bij uit niet ook zijn wordt staat rijdt loopt ligt twee drie rode
rood blauwe blauw groene groen zwarte zwart witte gele geel grote kat hond huis bomen straat lucht gras vrouw vrouwen
jongen meisje kinderen fiets paard verplaats beweeg voeg verwijder maak oude achtergrond

och og att ett et det som ar er pa av af til med fra fran mot bilen bil katten katt hunden mannen kvinna kvinde kvinne
huset roda svart vit vita hvid hvit hvide bla gron gronn grona gul liten lille stor stort hoger hoyre hojre vanster
venstre flytta flyt flytt bort legg lagg fjern ligger himlen gata gade vann vatten vand gammel gammal

nie jest sie przez dla na czerwony czerwona czerwone niebieski niebieska zielony zielona zielonej czarny czarna bialy
biala zolty kot samochod samochodu mezczyzna kobieta dziecko drzewo drzewa ulica ulicy niebo trawa trawie woda lewo
prawo przesun dodaj usun maly mala duzy duza stary jedzie obok nad przed je ve vedle cerveny cervene cervena modry
modra zeleny zelena muz zena kocka strom dum posun pridej vlevo vpravo este sunt cu pe spre stanga dreapta masina rosu
rosie pisica barbat femeie muta adauga

bir ve ile icin bu kirmizi mavi yesil siyah beyaz araba kedi kopek kadin cocuk agac sola yukari asagi tasi ekle kaldir
hareket ettir uzerinde yaninda dogru buyuk kucuk yang dengan dari pada adalah itu sebuah seorang seekor mobil merah
biru hijau hitam putih kucing anjing rumah pohon jalan langit kiri kanan pindahkan tambahkan hapus kecil besar pria
wanita anak sebelah ja punainen sininen vihrea musta valkoinen kissa koira talo mies nainen vasemmalle oikealle siirra
lisaa poista egy az piros kek zold fekete feher macska kutya haz ferfi balra jobbra
"""
_WHOLE = str.maketrans({"\u0131": "i", "ł": "l", "ß": "ss", "ø": "o"})  # letters that no accent can be taken off


def _words(text: str) -> list[str]:
    """Its words in lower case, without accents."""
    letters = unicodedata.normalize("NFD", text.lower().translate(_WHOLE))
    return re.findall(r"[^\W\d_]+", "".join(letter for letter in letters if not unicodedata.combining(letter)))


ENGLISH, OTHERS = (frozenset(_words(text)) for text in (_ENGLISH_WORDS, _OTHER_WORDS))


def counts(text: str) -> tuple[int, int, int]:
    """How many words a text has, how many of them are English, and how many of another language."""
    words = _words(text)
    return len(words), sum(word in ENGLISH for word in words), sum(word in OTHERS for word in words)
