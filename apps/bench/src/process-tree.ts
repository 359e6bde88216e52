/**
 * What a server costs, read from outside: the processor time and memory of a process and of everything it started.
 *
 * Linux only (/proc). Elsewhere, and for a server on another machine, the answer is undefined and the report leaves the figure out.
 * Times of children that ended are kept by the kernel in their parent (cutime, cstime), so the sum never goes back.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ProcessUsage {
  /** User and system time of all threads, in microseconds; the kernel tells it in steps of 10,000. */
  readonly cpuUs: number;
  readonly residentBytes: number;
}

/** The unit of /proc/<pid>/stat (USER_HZ) is 1/100 s on every architecture Node runs on, whatever the kernel's own tick is. */
const TICK_US = 10_000;

interface ProcessLine {
  readonly pid: number;
  readonly parentPid: number;
  readonly ticks: number;
}

/** The process `rootPid` with all its descendants, or undefined if it is not there. `procFolder` is for tests. */
export function readProcessTree(rootPid: number, procFolder = '/proc'): ProcessUsage | undefined {
  if (!existsSync(join(procFolder, String(rootPid), 'stat'))) return undefined;
  const lines = readdirSync(procFolder)
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readLine(join(procFolder, name, 'stat')))
    .filter((line) => line !== undefined);
  const members = new Map(lines.filter((line) => line.pid === rootPid).map((line) => [line.pid, line]));
  for (let grown = true; grown;) {
    const children = lines.filter((line) => members.has(line.parentPid) && !members.has(line.pid));
    for (const child of children) members.set(child.pid, child);
    grown = children.length > 0;
  }
  let ticks = 0;
  let residentBytes = 0;
  for (const member of members.values()) {
    ticks += member.ticks;
    residentBytes += readResidentBytes(join(procFolder, String(member.pid), 'status'));
  }
  return { cpuUs: ticks * TICK_US, residentBytes };
}

/** What all processors of the machine have worked since it started, in microseconds: how much others took meanwhile can be told from it. */
export function readBusyUs(procFolder = '/proc'): number | undefined {
  const line = /^cpu +(.*)$/m.exec(readIfThere(join(procFolder, 'stat')) ?? '')?.[1];
  if (line === undefined) return undefined;
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0, stolen = 0] = line.split(' ').map(Number);
  return (user + nice + system + interrupts + softInterrupts + stolen) * TICK_US;
}

/** The second field is the program's name in brackets and may itself hold blanks and brackets, so counting starts behind the last one. */
export function parseStat(text: string): ProcessLine | undefined {
  const nameEnd = text.lastIndexOf(')');
  if (nameEnd < 0) return undefined;
  const fields = text
    .slice(nameEnd + 2)
    .trim()
    .split(' ');
  const [user, system, childrenUser, childrenSystem] = fields.slice(11, 15).map(Number);
  const pid = Number.parseInt(text, 10);
  const parentPid = Number(fields[1]);
  const ticks = (user ?? Number.NaN) + (system ?? Number.NaN) + (childrenUser ?? Number.NaN) + (childrenSystem ?? Number.NaN);
  return Number.isNaN(pid + parentPid + ticks) ? undefined : { pid, parentPid, ticks };
}

function readLine(path: string): ProcessLine | undefined {
  const text = readIfThere(path);
  return text === undefined ? undefined : parseStat(text);
}

function readResidentBytes(path: string): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readIfThere(path) ?? '');
  return kilobytes ? Number(kilobytes[1]) * 1024 : 0;
}

/** A process may end between the listing and the reading; it then counts as gone. */
function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
