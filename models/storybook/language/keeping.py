"""What people add to an order about the rest of the picture.

`{order}` is the order, `{kept}` things that it leaves alone.
"""

KEEP_SOME = (
    "keep {kept}, but {order}",
    "keep {kept}, {order}",
    "leave {kept} as it is, {order}",
    "leave {kept} alone and {order}",
    "don't touch {kept}, just {order}",
    "without changing {kept}, {order}",
    "{order}, keep {kept}",
    "{order} but keep {kept}",
    "{order}, but leave {kept} alone",
    "{order}, but don't touch {kept}",
    "{order} and leave {kept} as it is",
    "{order} without touching {kept}",
    "{order}, {kept} stays",
    "{order}, {kept} should stay as it is",
    "{order}. {kept} is fine",
    "{order}. don't change {kept}",
    "{order}. {kept} must not change",
    "{order}, i like {kept}",
)

KEEP_ALL = (
    "{order}, keep everything else",
    "{order}, change nothing else",
    "{order} and keep the rest",
    "{order}, leave the rest as it is",
    "{order}, but leave everything else alone",
    "{order}. nothing else should change",
    "{order}. the rest is fine",
    "{order}, otherwise keep it the same",
    "{order}, everything else stays",
    "{order} and nothing more",
    "{order} only",
    "just {order}",
    "only {order}",
    "i like it, but {order}",
    "nice, but {order}",
    "keep all as it is, only {order}",
    "everything else can stay, {order}",
    "the rest is perfect, {order}",
)
