import { TYPE_BYTES_MAX } from './limits.js';

/**
 * Patterns of types, by the rules of AMQP's topic exchanges: words are parted by dots, `*` stands for one word, `#` for any number of them, none too.
 * Compiled once; keeps nothing.
 */
export function isPattern(text: string): boolean {
  return text.split('.').some((word) => word === '*' || word === '#');
}

/** Words of a type, stars and hashes. */
const WELL_FORMED = /^(?:[A-Za-z0-9_-]+|\*|#)(?:\.(?:[A-Za-z0-9_-]+|\*|#))*$/;

export function isWellFormed(pattern: string): boolean {
  return WELL_FORMED.test(pattern) && pattern.length <= TYPE_BYTES_MAX;
}

export function typeMatcher(pattern: string): (type: string) => boolean {
  if (!isPattern(pattern)) return (type) => type === pattern;
  const words = pattern.split('.');
  return (type) => matches(words, type.split('.'));
}

/** Whether it could match a type that begins with the words of `start` and has one more, whatever that is. */
export function startMatcher(pattern: string): (start: string) => boolean {
  const words = pattern.split('.');
  return (start) => matches(words, [...start.split('.'), ANY_WORD]);
}

/** Whether some type matches both. As bounded as `matches`. */
export function overlap(one: string, other: string): boolean {
  const [left, right] = [one.split('.'), other.split('.')];
  // reached[n]: what `left` says so far and the first n parts of `right` can be the same words.
  let reached = right.map((_part, index) => right.slice(0, index).every((part) => part === '#'));
  reached.push(right.every((part) => part === '#'));
  for (const part of left) {
    const next = reached.map(() => false);
    for (let count = 0; count <= right.length; count += 1) {
      const against = right[count - 1];
      // A hash takes nothing, or one more word of the other side, whatever that says.
      const bothGo = count > 0 && reached[count - 1] === true && (part === '*' || against === '*' || part === against);
      const leftStays = part === '#' && (reached[count] === true || (count > 0 && next[count - 1] === true));
      const rightStays = against === '#' && ((count > 0 && next[count - 1] === true) || reached[count] === true);
      next[count] = bothGo || leftStays || rightStays;
    }
    reached = next;
  }
  return reached[right.length] === true;
}

/** No word of a type: in its place any word may stand. */
const ANY_WORD = Symbol('any word');

/** Every word of the pattern is looked at once for every word of the type: bounded by their product, whatever is in the pattern. */
function matches(pattern: readonly string[], words: readonly (string | typeof ANY_WORD)[]): boolean {
  // reached[n]: the pattern so far can match the first n words.
  let reached = [true, ...words.map(() => false)];
  for (const part of pattern) {
    const next = reached.map(() => false);
    for (let count = 0; count <= words.length; count += 1) {
      const word = words[count - 1];
      if (part === '#') next[count] = reached[count] === true || (count > 0 && next[count - 1] === true);
      else if (count > 0) next[count] = reached[count - 1] === true && (part === '*' || part === word || word === ANY_WORD);
    }
    reached = next;
  }
  return reached[words.length] === true;
}
