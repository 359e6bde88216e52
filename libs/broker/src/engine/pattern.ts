import { CodedError } from '../errors.js';

/**
 * The regular expressions of permissions: found anywhere in a name unless anchored, as in RabbitMQ.
 *
 * A person who may set permissions could otherwise stop the broker with one line such as `(a+)+$`, so these never go back over what
 * they tried: each pair of step and place in the name is tried once (the "bit state" search of RE2), and the time is bounded by
 * steps times length. Look-ahead, which people use to say "all but these", is tried once for each place. What cannot be had in
 * that time is refused with a sentence: back references, look-behind, atomic and possessive groups.
 */
export class Pattern {
  private readonly steps: readonly Step[];
  private readonly isForAll: boolean;

  /** Throws a CodedError `invalid-argument` that says what is wrong and where. */
  constructor(readonly text: string) {
    this.isForAll = text === '.*' || text === '^.*$' || text === '^.*' || text === '.*$';
    this.steps = new Compiler(text).compile();
  }

  /** Whether it is one of the usual ways to say "everything". */
  get matchesAll(): boolean {
    return this.isForAll;
  }

  matches(name: string): boolean {
    return this.isForAll || new Search(this.steps, name).run();
  }
}

export const patternBounds = { charactersMax: 1000, stepsMax: 1000, lookAheadsMax: 8, repeatsMax: 1000 } as const;

type Step =
  | { readonly kind: 'set'; readonly takes: (character: number) => boolean; readonly next: number }
  | { readonly kind: 'split'; readonly next: number; readonly other: number }
  | { readonly kind: 'assert'; readonly holds: (name: string, at: number) => boolean; readonly next: number }
  | { readonly kind: 'look'; readonly inside: number; readonly isNegative: boolean; readonly next: number }
  | { readonly kind: 'match' };

class Search {
  private readonly width: number;
  /** What each look-ahead found at each place: 1 yes, 2 no. */
  private readonly looked = new Map<number, boolean>();

  constructor(
    private readonly steps: readonly Step[],
    private readonly name: string,
  ) {
    this.width = name.length + 1;
  }

  run(): boolean {
    const tried = new Uint8Array(this.steps.length * this.width);
    for (let at = 0; at < this.width; at++) if (this.from(0, at, tried)) return true;
    return false;
  }

  private from(first: number, start: number, tried: Uint8Array): boolean {
    const { steps, name, width } = this;
    const waiting = [first * width + start];
    for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) {
      if (tried[state] === 1) continue;
      tried[state] = 1;
      const at = state % width;
      const step = steps[(state - at) / width]!;
      if (step.kind === 'match') return true;
      if (step.kind === 'split') waiting.push(step.other * width + at, step.next * width + at);
      else if (step.kind === 'set') {
        if (at < name.length && step.takes(name.charCodeAt(at))) waiting.push(step.next * width + at + 1);
      } else if (step.kind === 'assert' ? step.holds(name, at) : this.look(step.inside, at) !== step.isNegative) {
        waiting.push(step.next * width + at);
      }
    }
    return false;
  }

  private look(inside: number, at: number): boolean {
    const key = inside * this.width + at;
    let found = this.looked.get(key);
    if (found === undefined) this.looked.set(key, (found = this.from(inside, at, new Uint8Array(this.steps.length * this.width))));
    return found;
  }
}

type Node =
  | { readonly kind: 'set'; readonly takes: (character: number) => boolean }
  | { readonly kind: 'assert'; readonly holds: (name: string, at: number) => boolean }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Node[] }
  | { readonly kind: 'repeat'; readonly what: Node; readonly least: number; readonly most: number }
  | { readonly kind: 'look'; readonly what: Node; readonly isNegative: boolean };

/** Reads the expression and writes the steps, from its end to its beginning, so that each step knows where it leads. */
class Compiler {
  private at = 0;
  private depth = 0;
  private ignoresCase = false;
  private lookAheads = 0;
  private written = 0;
  private readonly steps: Step[] = [];

  constructor(private readonly text: string) {}

  compile(): readonly Step[] {
    const { charactersMax } = patternBounds;
    if (this.text.length > charactersMax) throw this.refuse(`it has more than ${charactersMax} characters`);
    const node = this.choice();
    if (this.at < this.text.length) throw this.refuse(`there is a ')' too many`);
    const start = this.write(node, this.add({ kind: 'match' }));
    // The search begins at step 0.
    const { steps } = this;
    const swap = (step: number): number => (step === start ? 0 : step === 0 ? start : step);
    [steps[0], steps[start]] = [steps[start]!, steps[0]!];
    return steps.map((step) => {
      if (step.kind === 'match') return step;
      if (step.kind === 'split') return { ...step, next: swap(step.next), other: swap(step.other) };
      if (step.kind === 'look') return { ...step, next: swap(step.next), inside: swap(step.inside) };
      return { ...step, next: swap(step.next) };
    });
  }

  private add(step: Step): number {
    const { stepsMax } = patternBounds;
    if (this.steps.length >= stepsMax) throw this.refuse(`it takes more than ${stepsMax} steps: repeat less`);
    return this.steps.push(step) - 1;
  }

  /** Writes the steps of `node`, after which it goes on with step `next`; returns the first of them. */
  private write(node: Node, next: number): number {
    if (++this.written > patternBounds.stepsMax * 20) throw this.refuse('it repeats too much'); // also what takes no steps
    switch (node.kind) {
      case 'set':
      case 'assert':
        return this.add({ ...node, next });
      case 'sequence':
        return node.parts.reduceRight((after, part) => this.write(part, after), next);
      case 'choice':
        return node.parts
          .map((part) => this.write(part, next))
          .reduceRight((other, first) => this.add({ kind: 'split', next: first, other }));
      case 'look':
        return this.add({ kind: 'look', inside: this.write(node.what, this.add({ kind: 'match' })), isNegative: node.isNegative, next });
      case 'repeat':
        return this.writeRepeat(node, next);
    }
  }

  private writeRepeat({ what, least, most }: Extract<Node, { kind: 'repeat' }>, next: number): number {
    let first = next;
    if (most === Infinity) {
      first = this.add({ kind: 'split', next, other: next });
      this.steps[first] = { kind: 'split', next: this.write(what, first), other: next };
    } else {
      for (let count = least; count < most; count++) first = this.add({ kind: 'split', next: this.write(what, first), other: next });
    }
    for (let count = 0; count < least; count++) first = this.write(what, first);
    return first;
  }

  private choice(): Node {
    if (++this.depth > 100) throw this.refuse('its groups are nested too deeply');
    const parts = [this.sequence()];
    while (this.skip('|')) parts.push(this.sequence());
    this.depth--;
    return parts.length === 1 ? parts[0]! : { kind: 'choice', parts };
  }

  private sequence(): Node {
    const parts: Node[] = [];
    while (this.at < this.text.length && this.text[this.at] !== '|' && this.text[this.at] !== ')') parts.push(this.repeated());
    return { kind: 'sequence', parts };
  }

  private repeated(): Node {
    let node = this.atom();
    for (;;) {
      const times = this.times();
      if (times === undefined) return node;
      if (this.skip('+')) throw this.refuse('possessive repetition (such as a*+) is not supported');
      this.skip('?'); // lazy or greedy: the answer is the same
      node = { kind: 'repeat', what: node, ...times };
    }
  }

  private times(): { least: number; most: number } | undefined {
    if (this.skip('*')) return { least: 0, most: Infinity };
    if (this.skip('+')) return { least: 1, most: Infinity };
    if (this.skip('?')) return { least: 0, most: 1 };
    const counted = /^\{(\d+)(,?)(\d*)\}/.exec(this.text.slice(this.at));
    if (counted === null) return undefined;
    const least = Number(counted[1]);
    const most = counted[2] === '' ? least : counted[3] === '' ? Infinity : Number(counted[3]);
    if (most < least) throw this.refuse('a repetition ends before it begins');
    if (least > patternBounds.repeatsMax) throw this.refuse(`it repeats more than ${patternBounds.repeatsMax} times`);
    if (most !== Infinity && most > patternBounds.repeatsMax) throw this.refuse(`it repeats more than ${patternBounds.repeatsMax} times`);
    this.at += counted[0].length;
    return { least, most };
  }

  private atom(): Node {
    const character = this.text[this.at++]!;
    switch (character) {
      case '(':
        return this.group();
      case '[':
        return this.set();
      case '.':
        return { kind: 'set', takes: (code) => code !== newLine };
      case '^':
        return { kind: 'assert', holds: (_name, at) => at === 0 };
      case '$':
        return { kind: 'assert', holds: (name, at) => at === name.length };
      case '\\':
        return this.escape();
      case '*':
      case '+':
      case '?':
        throw this.refuse(`there is nothing to repeat before '${character}'`);
      default:
        return this.single(character.charCodeAt(0));
    }
  }

  private single(code: number): Node {
    return { kind: 'set', takes: this.caseless((other) => other === code) };
  }

  private caseless(takes: (code: number) => boolean): (code: number) => boolean {
    if (!this.ignoresCase) return takes;
    return (code) => {
      const letter = String.fromCharCode(code);
      return takes(code) || takes(letter.toLowerCase().charCodeAt(0)) || takes(letter.toUpperCase().charCodeAt(0));
    };
  }

  private group(): Node {
    if (!this.skip('?')) return this.close(this.choice());
    if (this.skip(':')) return this.close(this.choice());
    const isNegative = this.text[this.at] === '!';
    if (this.skip('=') || this.skip('!')) {
      if (++this.lookAheads > patternBounds.lookAheadsMax)
        throw this.refuse(`it looks ahead more than ${patternBounds.lookAheadsMax} times`);
      return { kind: 'look', what: this.close(this.choice()), isNegative };
    }
    if (this.text.startsWith('i)', this.at)) {
      this.at += 2;
      this.ignoresCase = true;
      return { kind: 'sequence', parts: [] };
    }
    const named = /^P?<[A-Za-z_]\w*>/.exec(this.text.slice(this.at));
    if (named === null) {
      throw this.refuse(`'(?${this.text.slice(this.at, this.at + 2)}' is not supported: groups, look-ahead and (?i) are`);
    }
    this.at += named[0].length;
    return this.close(this.choice());
  }

  private close(node: Node): Node {
    if (!this.skip(')')) throw this.refuse(`a ')' is missing`);
    return node;
  }

  private escape(): Node {
    const letter = this.text[this.at++];
    if (letter === undefined) throw this.refuse('it ends with a backslash');
    const named = escapedSets[letter];
    if (named !== undefined) return { kind: 'set', takes: named };
    if (letter === 'b' || letter === 'B') {
      return { kind: 'assert', holds: (name, at) => (isWordAt(name, at - 1) !== isWordAt(name, at)) === (letter === 'b') };
    }
    if (letter === 'A') return { kind: 'assert', holds: (_name, at) => at === 0 };
    if (letter === 'z' || letter === 'Z') return { kind: 'assert', holds: (name, at) => at === name.length };
    return this.single(this.escapedCharacter(letter));
  }

  private escapedCharacter(letter: string): number {
    const control = controls[letter];
    if (control !== undefined) return control;
    if (letter === 'x') {
      const digits = /^(?:\{([0-9a-fA-F]{1,4})\}|([0-9a-fA-F]{2}))/.exec(this.text.slice(this.at));
      if (digits === null) throw this.refuse('after \\x come two hexadecimal digits');
      this.at += digits[0].length;
      return parseInt((digits[1] ?? digits[2])!, 16);
    }
    if (/[0-9A-Za-z]/.test(letter)) throw this.refuse(`'\\${letter}' is not supported`);
    return letter.charCodeAt(0);
  }

  private set(): Node {
    const isNegated = this.skip('^');
    const members: ((code: number) => boolean)[] = [];
    for (let isFirst = true; isFirst || this.text[this.at] !== ']'; isFirst = false) {
      if (this.at >= this.text.length) throw this.refuse(`a ']' is missing`);
      members.push(this.member());
    }
    this.at++;
    const takes = this.caseless((code) => members.some((member) => member(code)));
    return { kind: 'set', takes: isNegated ? (code) => !takes(code) : takes };
  }

  private member(): (code: number) => boolean {
    const named = /^\[:(\^?)([a-z]+):\]/.exec(this.text.slice(this.at));
    if (named !== null) {
      const known = posixSets[named[2]!];
      if (known === undefined) throw this.refuse(`there is no class [:${named[2]}:]`);
      this.at += named[0].length;
      return named[1] === '^' ? (code) => !known(code) : known;
    }
    const low = this.memberCharacter();
    if (typeof low === 'function') return low;
    if (this.text[this.at] !== '-' || this.text[this.at + 1] === ']' || this.at + 1 >= this.text.length) return (code) => code === low;
    this.at++;
    const high = this.memberCharacter();
    if (typeof high === 'function' || high < low) throw this.refuse('a range in brackets ends before it begins');
    return (code) => code >= low && code <= high;
  }

  private memberCharacter(): number | ((code: number) => boolean) {
    const character = this.text[this.at++]!;
    if (character !== '\\') return character.charCodeAt(0);
    const letter = this.text[this.at++];
    if (letter === undefined) throw this.refuse('it ends with a backslash');
    return letter === 'b' ? 8 : (escapedSets[letter] ?? this.escapedCharacter(letter));
  }

  private skip(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private refuse(what: string): CodedError {
    const shown = this.text.length > 60 ? `${this.text.slice(0, 60)}…` : this.text;
    return new CodedError('invalid-argument', `'${shown}' cannot be used as a regular expression: ${what} (at character ${this.at})`);
  }
}

const newLine = 10;
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, r: 13, f: 12, v: 11, a: 7, e: 27 };

const within =
  (...ranges: readonly string[]) =>
  (code: number): boolean =>
    ranges.some((range) => code >= range.charCodeAt(0) && code <= range.charCodeAt(range.length - 1));
const not =
  (takes: (code: number) => boolean) =>
  (code: number): boolean =>
    !takes(code);

const digit = within('09');
const word = within('az', 'AZ', '09', '_');
const space = within('\t\r', ' ');
const escapedSets: Readonly<Record<string, (code: number) => boolean>> = {
  d: digit,
  D: not(digit),
  w: word,
  W: not(word),
  s: space,
  S: not(space),
};
const posixSets: Readonly<Record<string, (code: number) => boolean>> = {
  alnum: within('az', 'AZ', '09'),
  alpha: within('az', 'AZ'),
  digit,
  lower: within('az'),
  upper: within('AZ'),
  punct: within('!/', ':@', '[`', '{~'),
  space,
  word,
  xdigit: within('09', 'af', 'AF'),
};

function isWordAt(name: string, at: number): boolean {
  return at >= 0 && at < name.length && word(name.charCodeAt(at));
}
