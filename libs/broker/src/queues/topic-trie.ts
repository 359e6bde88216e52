/**
 * The bindings of a topic exchange: a tree of words, in which `*` stands for exactly one word and `#` for none or more.
 *
 *   "stock.*.nyse"  →  stock → * → nyse            a key is walked down once; a node reached by `#` may take words and stay
 *
 * A key visits the nodes that fit its words, once each: a few steps and no object per node. Only below a `#` that has words behind it
 * can a node be reached with one rest of the key in several ways; there it is noted what was tried, so that a key of n words visits
 * each node at most n + 1 times, however many `#` the bindings hold.
 */
interface Node<T> {
  /** By the next word, as it is. */
  readonly words: Map<string, Node<T>>;
  /** `*`: one word, whatever it is. */
  any: Node<T> | undefined;
  /** `#`: any words, also none. */
  rest: Node<T> | undefined;
  readonly values: T[];
}

type Tried<T> = Map<Node<T>, Set<number>>;

export class TopicTrie<T> {
  private readonly root: Node<T> = emptyNode();

  add(pattern: string, value: T): void {
    let node = this.root;
    for (const word of words(pattern)) node = childOf(node, word) ?? addChild(node, word);
    node.values.push(value);
  }

  remove(pattern: string, value: T): void {
    removeFrom(this.root, words(pattern), 0, value);
  }

  /** Calls `found` for the values of every pattern that matches; more than once for a value that was added more than once. */
  match(key: string, found: (value: T) => void): void {
    walk(this.root, words(key), 0, found, undefined);
  }
}

function emptyNode<T>(): Node<T> {
  return { words: new Map(), any: undefined, rest: undefined, values: [] };
}

/** The empty key has no words at all; `a..b` has an empty one. */
function words(text: string): readonly string[] {
  return text === '' ? [] : text.split('.');
}

function childOf<T>(node: Node<T>, word: string): Node<T> | undefined {
  return word === '*' ? node.any : word === '#' ? node.rest : node.words.get(word);
}

function addChild<T>(node: Node<T>, word: string): Node<T> {
  const child = emptyNode<T>();
  if (word === '*') node.any = child;
  else if (word === '#') node.rest = child;
  else node.words.set(word, child);
  return child;
}

function hasChildren<T>({ words: byWord, any, rest }: Node<T>): boolean {
  return byWord.size > 0 || any !== undefined || rest !== undefined;
}

function walk<T>(node: Node<T>, key: readonly string[], at: number, found: (value: T) => void, tried: Tried<T> | undefined): void {
  if (tried === undefined || isFirstTry(tried, node, at)) visit(node, key, at, found, tried);
}

function visit<T>(node: Node<T>, key: readonly string[], at: number, found: (value: T) => void, tried: Tried<T> | undefined): void {
  const { rest } = node;
  if (rest !== undefined) walkRest(rest, key, at, found, tried);
  if (at === key.length) {
    for (const value of node.values) found(value);
    return;
  }
  const word = key[at]!;
  // In a key these two are words like any other, and no pattern holds them as such.
  const exact = word === '*' || word === '#' ? undefined : node.words.get(word);
  if (exact !== undefined) walk(exact, key, at + 1, found, tried);
  if (node.any !== undefined) walk(node.any, key, at + 1, found, tried);
}

/** From a node for `#`: it takes all words, and where more is asked for behind it, as many as there may be. */
function walkRest<T>(rest: Node<T>, key: readonly string[], at: number, found: (value: T) => void, tried: Tried<T> | undefined): void {
  if (hasChildren(rest)) {
    const noted: Tried<T> = tried ?? new Map();
    // Where it has been before with one rest of the key, it has been with all shorter ones.
    for (let from = at; from <= key.length && isFirstTry(noted, rest, from); from++) visit(rest, key, from, found, noted);
    return;
  }
  if (tried !== undefined && !isFirstTry(tried, rest, key.length)) return;
  for (const value of rest.values) found(value);
}

function isFirstTry<T>(tried: Tried<T>, node: Node<T>, at: number): boolean {
  let ends = tried.get(node);
  if (ends === undefined) tried.set(node, (ends = new Set()));
  if (ends.has(at)) return false;
  ends.add(at);
  return true;
}

/** True when the node is empty now, so that its parent can let it go. */
function removeFrom<T>(node: Node<T>, pattern: readonly string[], at: number, value: T): boolean {
  if (at === pattern.length) {
    const index = node.values.indexOf(value);
    if (index >= 0) node.values.splice(index, 1);
  } else {
    const word = pattern[at]!;
    const next = childOf(node, word);
    if (next !== undefined && removeFrom(next, pattern, at + 1, value)) {
      if (word === '*') node.any = undefined;
      else if (word === '#') node.rest = undefined;
      else node.words.delete(word);
    }
  }
  return node.values.length === 0 && !hasChildren(node);
}
