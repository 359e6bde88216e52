/**
 * The bindings of a topic exchange: a tree of words, in which `*` stands for exactly one word and `#` for none or more.
 *
 *   "stock.*.nyse"  →  stock → * → nyse            a key is walked down once; a node reached by `#` may take words and stay
 *
 * A key of n words visits each node at most n + 1 times, and each visit is a few steps, however many `#` the bindings hold:
 * a node and a rest that were tried once are not tried again.
 */
interface Node<T> {
  readonly words: Map<string, Node<T>>;
  readonly values: T[];
  /** It stands for `#`: it may take any words on the way to its children. */
  readonly isRest: boolean;
}

export class TopicTrie<T> {
  private readonly root: Node<T> = emptyNode(false);

  add(pattern: string, value: T): void {
    let node = this.root;
    for (const word of words(pattern)) {
      let next = node.words.get(word);
      if (next === undefined) node.words.set(word, (next = emptyNode(word === '#')));
      node = next;
    }
    node.values.push(value);
  }

  remove(pattern: string, value: T): void {
    removeFrom(this.root, words(pattern), 0, value);
  }

  /** Calls `found` for the values of every pattern that matches; more than once for a value that was added more than once. */
  match(key: string, found: (value: T) => void): void {
    walk(this.root, words(key), 0, found, new Map());
  }
}

function emptyNode<T>(isRest: boolean): Node<T> {
  return { words: new Map(), values: [], isRest };
}

/** The empty key has no words at all; `a..b` has an empty one. */
function words(text: string): readonly string[] {
  return text === '' ? [] : text.split('.');
}

function walk<T>(node: Node<T>, key: readonly string[], at: number, found: (value: T) => void, tried: Map<Node<T>, Set<number>>): void {
  let ends = tried.get(node);
  if (ends === undefined) tried.set(node, (ends = new Set()));
  if (ends.has(at)) return;
  ends.add(at);
  if (at === key.length) for (const value of node.values) found(value);
  const rest = node.words.get('#');
  if (rest !== undefined) walk(rest, key, at, found, tried);
  if (at === key.length) return;
  if (node.isRest) walk(node, key, at + 1, found, tried);
  const exact = key[at]!;
  const next = exact === '*' || exact === '#' ? undefined : node.words.get(exact);
  if (next !== undefined) walk(next, key, at + 1, found, tried);
  const any = node.words.get('*');
  if (any !== undefined) walk(any, key, at + 1, found, tried);
}

/** True when the node is empty now, so that its parent can let it go. */
function removeFrom<T>(node: Node<T>, pattern: readonly string[], at: number, value: T): boolean {
  if (at === pattern.length) {
    const index = node.values.indexOf(value);
    if (index >= 0) node.values.splice(index, 1);
  } else {
    const word = pattern[at]!;
    const next = node.words.get(word);
    if (next !== undefined && removeFrom(next, pattern, at + 1, value)) node.words.delete(word);
  }
  return node.values.length === 0 && node.words.size === 0;
}
