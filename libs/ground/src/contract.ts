/**
 * The form of a contract suite: cases that any runner can run, over a port that is made anew for each.
 *
 *   for (const { name, run } of diskContract(openRealDisk)) it(name, run);
 */
export interface ContractCase {
  readonly name: string;
  /** Rejects where the implementation does not keep the contract. */
  run(): Promise<void>;
}

/** A port to be tried, with what it takes to try it. */
export interface ContractSubject<Port> {
  readonly port: Port;
  /** Resolves as `work` does. A simulated port moves its clock meanwhile; a real one has nothing to do. */
  drive<Answer>(work: Promise<Answer>): Promise<Answer>;
  /** Leaves nothing behind. */
  close(): Promise<void>;
}

export type OpenSubject<Subject> = () => Promise<Subject>;

/** Binds each case to a subject of its own. */
export function contractCases<Subject extends ContractSubject<unknown>>(
  open: OpenSubject<Subject>,
  cases: Readonly<Record<string, (subject: Subject) => Promise<void>>>,
): readonly ContractCase[] {
  return Object.entries(cases).map(([name, body]) => ({
    name,
    async run() {
      const subject = await open();
      try {
        await subject.drive(body(subject));
      } finally {
        await subject.close();
      }
    },
  }));
}
