/** Something that cannot be done as things stand. The message says why, and what to do instead: it is meant for the person who asked. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}
