// Other painters: the user's own workflows that hold a WeGen Turn and a WeGen Result.

export class Painters {
  known = [];

  async list() {
    return this.known;
  }
}
