/**
 * The content of one simulated file: pages that exist once something was written to them, zeros between. Keeps no history; the simulated
 * volume holds two of these per file, what readers see and what is on the platter.
 */
export class SparseContent {
  #size = 0;
  #pages = new Map<number, Buffer>();

  get size(): number {
    return this.#size;
  }

  get pageCount(): number {
    return this.#pages.size;
  }

  /** How many of `length` bytes from `position` fit when only `pagesFree` new pages may be made. */
  roomFor(position: number, length: number, pagesFree: number): number {
    let free = pagesFree;
    for (let at = position; at < position + length; at = pageEnd(at)) {
      if (this.#pages.has(pageOf(at))) continue;
      if (free === 0) return at - position;
      free--;
    }
    return length;
  }

  write(position: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    for (let done = 0; done < bytes.length;) {
      const at = position + done;
      const count = Math.min(bytes.length - done, pageEnd(at) - at);
      this.#page(pageOf(at)).set(bytes.subarray(done, done + count), at % PAGE_BYTES);
      done += count;
    }
    this.#size = Math.max(this.#size, position + bytes.length);
  }

  read(into: Uint8Array, position: number): number {
    const length = Math.max(0, Math.min(into.length, this.#size - position));
    for (let done = 0; done < length;) {
      const at = position + done;
      const count = Math.min(length - done, pageEnd(at) - at);
      const page = this.#pages.get(pageOf(at));
      if (page === undefined) into.fill(0, done, done + count);
      else into.set(page.subarray(at % PAGE_BYTES, (at % PAGE_BYTES) + count), done);
      done += count;
    }
    return length;
  }

  /** Cuts, or grows with zeros. */
  truncate(size: number): void {
    if (size < this.#size) {
      for (const index of this.#pages.keys()) if (index * PAGE_BYTES >= size) this.#pages.delete(index);
      // What is cut must not come back when the file grows again.
      this.#pages.get(pageOf(size))?.fill(0, size % PAGE_BYTES);
    }
    this.#size = size;
  }

  copy(): SparseContent {
    const copy = new SparseContent();
    copy.#size = this.#size;
    for (const [index, page] of this.#pages) copy.#pages.set(index, Buffer.from(page));
    return copy;
  }

  #page(index: number): Buffer {
    let page = this.#pages.get(index);
    if (page === undefined) this.#pages.set(index, (page = Buffer.alloc(PAGE_BYTES)));
    return page;
  }
}

export const PAGE_BYTES = 4096;

function pageOf(position: number): number {
  return Math.floor(position / PAGE_BYTES);
}

function pageEnd(position: number): number {
  return (pageOf(position) + 1) * PAGE_BYTES;
}
