/**
 * The names and files of one simulated machine, and what a crash leaves of them.
 *
 * A name that was created, renamed or removed is safe once its folder was synced; before that the loss of power may take it back or not,
 * each by itself, a rename as a whole. Folders made by `makeFolder` are safe at once. Everything here happens at once and cannot fail by
 * chance: time, order and faults are the simulated disk's business, the only caller.
 */
import { DiskError } from './disk.js';
import type { LockOwner } from './disk-error.js';
import type { SeededRandom } from './seeded-random.js';
import { type Fate, SimulatedFileNode } from './simulated-file-node.js';
import { PAGE_BYTES } from './sparse-content.js';

type Node = SimulatedFileNode | Folder;

/** The names of a folder now, the ones that are safe, and the way from these to those. */
class Folder {
  readonly names = new Map<string, Node>();
  safeNames = new Map<string, Node>();
  pending: NameChange[] = [];
}

/** What one call did: a rename sets one name and clears another, maybe in two folders, together or not at all. */
interface NameChange {
  readonly order: number;
  readonly sets: readonly { readonly folder: Folder; readonly name: string; readonly node: Node | undefined }[];
}

export class SimulatedVolume {
  /** Bytes that fit on the volume, counted in pages of 4 KiB; may be changed at any time. */
  capacityBytes = Infinity;
  readonly #root = new Folder();
  readonly #locks = new Map<Folder, { readonly holder: object; readonly owner: LockOwner }>();
  #order = 0;

  freeBytes(): number {
    if (this.capacityBytes === Infinity) return FREE_BYTES_MAX;
    let pages = 0;
    for (const node of this.#nodes('named')) if (node instanceof SimulatedFileNode) pages += node.pageCount;
    return Math.max(0, this.capacityBytes - pages * PAGE_BYTES);
  }

  /** Claims a folder for `holder`, or answers who owns it. */
  lock(path: string, holder: object, owner: LockOwner): LockOwner | undefined {
    const folder = this.#folder(path, `lock ${path}`);
    const lock = this.#locks.get(folder);
    if (lock === undefined) this.#locks.set(folder, { holder, owner });
    return lock?.owner;
  }

  unlock(path: string, holder: object): void {
    const folder = this.#folder(path, `unlock ${path}`);
    if (this.#locks.get(folder)?.holder === holder) this.#locks.delete(folder);
  }

  /** The holder is gone, and all its locks with it. */
  unlockAll(holder: object): void {
    for (const [folder, lock] of this.#locks) if (lock.holder === holder) this.#locks.delete(folder);
  }

  makeFolder(path: string): void {
    let folder = this.#root;
    for (const name of split(path)) {
      let next = folder.names.get(name);
      if (next instanceof SimulatedFileNode) throw new DiskError('failed', `cannot make the folder ${path}: a part of the path is a file`);
      if (next === undefined) {
        next = new Folder();
        folder.names.set(name, next);
        folder.safeNames.set(name, next);
      }
      folder = next;
    }
  }

  list(path: string): readonly string[] {
    return [...this.#folder(path, `list ${path}`).names.keys()].sort();
  }

  exists(path: string): boolean {
    return path === '/' || this.#find(path) !== undefined;
  }

  create(path: string): SimulatedFileNode {
    const { folder, name } = this.#place(path, `create ${path}`);
    if (folder.names.has(name)) throw new DiskError('exists', `cannot create ${path}: there is one already`);
    const node = new SimulatedFileNode();
    this.#change([{ folder, name, node }]);
    return node;
  }

  open(path: string): SimulatedFileNode {
    const node = this.#find(path);
    if (node === undefined) throw missing(`open ${path}`);
    if (node instanceof Folder) throw new DiskError('failed', `cannot open ${path}: it is a folder, not a file: choose another path`);
    return node;
  }

  rename(from: string, to: string): void {
    const action = `rename ${from} to ${to}`;
    const source = this.#place(from, action);
    const target = this.#place(to, action);
    const node = source.folder.names.get(source.name);
    if (node === undefined) throw missing(action);
    const replaced = target.folder.names.get(target.name);
    if (replaced === node) return;
    if (replaced instanceof Folder && (node instanceof SimulatedFileNode || replaced.names.size > 0))
      throw new DiskError('failed', `cannot ${action}: a folder is in the way`);
    if (replaced instanceof SimulatedFileNode && node instanceof Folder)
      throw new DiskError('failed', `cannot ${action}: a file is in the way`);
    this.#change([
      { ...source, node: undefined },
      { ...target, node },
    ]);
  }

  remove(path: string): void {
    const { folder, name } = this.#place(path, `remove ${path}`);
    const node = folder.names.get(name);
    if (node === undefined) throw missing(`remove ${path}`);
    if (node instanceof Folder && node.names.size > 0) throw new DiskError('failed', `cannot remove ${path}: the folder is not empty`);
    this.#change([{ folder, name, node: undefined }]);
  }

  /** What a sync of the folder asked for now will cover. */
  unsyncedOrder(): number {
    return this.#order;
  }

  syncFolder(path: string, beforeOrder: number): void {
    const folder = this.#folder(path, `sync the folder ${path}`);
    for (const change of folder.pending.filter(({ order }) => order < beforeOrder)) settle(change);
  }

  loseProcess(random: SeededRandom): void {
    for (const node of this.#nodes('named')) if (node instanceof SimulatedFileNode) node.loseProcess(random);
  }

  losePower(random: SeededRandom): void {
    const fate = FATES[random.below(FATES.length)] ?? 'mixed';
    const nodes = [...this.#nodes('named or may be again')];
    const changes = new Map<number, NameChange>();
    for (const node of nodes) if (node instanceof Folder) for (const change of node.pending) changes.set(change.order, change);
    for (const change of [...changes.values()].sort((one, other) => one.order - other.order)) {
      if (fate === 'all kept' || (fate === 'mixed' && random.chance(0.5))) settle(change);
    }
    for (const node of nodes) {
      if (node instanceof SimulatedFileNode) node.losePower(fate, random);
      else {
        node.pending = [];
        node.names.clear();
        for (const [name, safe] of node.safeNames) node.names.set(name, safe);
      }
    }
  }

  #change(sets: NameChange['sets']): void {
    const change = { order: this.#order++, sets };
    for (const { folder, name, node } of sets) {
      if (node === undefined) folder.names.delete(name);
      else folder.names.set(name, node);
    }
    for (const folder of new Set(sets.map((set) => set.folder))) folder.pending.push(change);
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of split(path)) node = node instanceof Folder ? node.names.get(name) : undefined;
    return node;
  }

  #folder(path: string, action: string): Folder {
    const node = this.#find(path);
    if (node === undefined) throw missing(action);
    if (node instanceof Folder) return node;
    throw new DiskError('failed', `cannot ${action}: it is a file, not a folder: choose another path`);
  }

  #place(path: string, action: string): { readonly folder: Folder; readonly name: string } {
    const parts = split(path);
    const name = parts.pop();
    if (name === undefined) throw new DiskError('failed', `cannot ${action}: it is the root of the volume`);
    return { folder: this.#folder(parts.join('/'), action), name };
  }

  /** Everything that has a name now, or also what the loss of power may give one again, in an order that does not depend on chance. */
  *#nodes(which: 'named' | 'named or may be again'): Generator<Node> {
    const seen = new Set<Node>([this.#root]);
    for (const node of seen) {
      yield node;
      if (!(node instanceof Folder)) continue;
      for (const below of node.names.values()) seen.add(below);
      if (which === 'named') continue;
      for (const below of node.safeNames.values()) seen.add(below);
      for (const change of node.pending) for (const set of change.sets) if (set.node !== undefined) seen.add(set.node);
    }
  }
}

const FATES: readonly Fate[] = ['all lost', 'all kept', 'mixed', 'mixed', 'mixed'];
/** What an endless volume says is free. */
const FREE_BYTES_MAX = 2 ** 40;

function split(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

function missing(action: string): DiskError {
  return new DiskError('not-found', `cannot ${action}: there is no such file or folder`);
}

/** The change is on the platter, in every folder it touches, and so is what happened to the same names before it. */
function settle(change: NameChange): void {
  for (const { folder, name, node } of change.sets) {
    const earlier = folder.pending.find(
      (other) => other.order < change.order && other.sets.some((set) => set.folder === folder && set.name === name),
    );
    if (earlier !== undefined) settle(earlier);
    if (node === undefined) folder.safeNames.delete(name);
    else folder.safeNames.set(name, node);
    folder.pending = folder.pending.filter((other) => other !== change);
  }
}
