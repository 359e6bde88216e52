/**
 * How a benchmark tells what it found: a table for people, and the same with every round as JSON. Pure.
 */
import { arch, cpus, release, totalmem, type } from 'node:os';
import { summarize, type Measurement, type ReportLine, type Summary } from './figure.js';

export interface Report {
  readonly benchmark: string;
  readonly ours: string;
  readonly peer: string | undefined;
  readonly options: Readonly<Record<string, unknown>>;
  /** What must be known to read the figures; sentences. */
  readonly notes: readonly string[];
  /** Cases whose figures are void, and why. */
  readonly failures: readonly string[];
  readonly measurements: readonly Measurement[];
}

/** Three significant digits are what two rounds agree on. */
export function formatValue(value: number | undefined): string {
  if (value === undefined) return '-';
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(Math.min(digits, 3));
}

export function describeMachine(): string {
  const processors = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${processors.length} × ${processors[0]?.model.trim() ?? arch()}, ${memory}, ${type()} ${release()}, Node ${process.version}`;
}

export function formatReport(report: Report): string {
  const lines = summarize(report.measurements);
  const text = [`${report.benchmark}, on ${describeMachine()}`, `ours: ${report.ours}`, `peer: ${report.peer ?? 'no peer'}`, ''];
  let heading = '';
  const rows: string[][] = [];
  const tables: string[] = [];
  const flush = (): void => {
    if (rows.length > 0) tables.push(heading, formatTable([['', 'ours', 'peer', 'ours / peer'], ...rows]), '');
    rows.length = 0;
  };
  for (const line of lines) {
    const next = line.promise ? `${line.caseTitle} [${line.promise}]` : line.caseTitle;
    if (next !== heading) flush();
    heading = next;
    rows.push(formatLine(line));
  }
  flush();
  text.push(...tables);
  for (const note of report.notes) text.push(`note: ${note}`);
  for (const failure of report.failures) text.push(`VOID: ${failure}`);
  return text.join('\n');
}

export function reportAsJson(report: Report): string {
  return JSON.stringify(
    { ...report, machine: describeMachine(), takenAt: new Date().toISOString(), summary: summarize(report.measurements) },
    null,
    2,
  );
}

function formatLine(line: ReportLine): string[] {
  const { ours, peer, bare } = line.sides;
  const left = ours ?? bare;
  return [
    `${line.name}, ${line.unit}`,
    formatSummary(left),
    formatSummary(peer),
    line.ratio === undefined ? '' : `${formatValue(line.ratio)} x`,
  ];
}

function formatSummary(summary: Summary | undefined): string {
  if (!summary) return '-';
  const middle = formatValue(summary.median);
  return summary.rounds === 1 ? middle : `${middle} (${formatValue(summary.least)} to ${formatValue(summary.most)})`;
}

function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`.trimEnd(),
    )
    .join('\n');
}
