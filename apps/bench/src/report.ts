/**
 * How a benchmark tells what it found: a table for people, and the same with every round as JSON. Pure.
 */
import { arch, cpus, release, totalmem, type } from 'node:os';
import { summarize, type Measurement, type ReportLine, type SideName, type Summary } from './figure.js';

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

const SIDE_TITLES: Readonly<Record<SideName, string>> = { ours: 'ours', peer: 'peer', bare: 'bare Node' };

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
  const text = [`${report.benchmark}, on ${describeMachine()}`, `ours: ${report.ours}`, `peer: ${report.peer ?? 'no peer'}`, ''];
  const groups = new Map<string, ReportLine[]>();
  for (const line of summarize(report.measurements)) {
    const heading = line.promise ? `${line.caseTitle} [${line.promise}]` : line.caseTitle;
    groups.set(heading, [...(groups.get(heading) ?? []), line]);
  }
  for (const [heading, lines] of groups) text.push(heading, formatGroup(lines), '');
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

/** A column for each side that was measured; the ratio only where there are two to compare. */
function formatGroup(lines: readonly ReportLine[]): string {
  const sides = (['ours', 'peer', 'bare'] as const).filter((side) => lines.some((line) => line.sides[side]));
  const hasRatio = lines.some((line) => line.ratio !== undefined);
  const heading = ['', ...sides.map((side) => SIDE_TITLES[side]), ...(hasRatio ? ['ours / peer'] : [])];
  const rows = lines.map((line) => {
    const ratio = line.ratio === undefined ? '' : `${formatValue(line.ratio)} x`;
    return [`${line.name}, ${line.unit}`, ...sides.map((side) => formatSummary(line.sides[side])), ...(hasRatio ? [ratio] : [])];
  });
  return formatTable([heading, ...rows]);
}

function formatSummary(summary: Summary | undefined): string {
  if (!summary) return '-';
  const middle = formatValue(summary.median);
  return summary.rounds === 1 ? middle : `${middle} (${formatValue(summary.least)} to ${formatValue(summary.most)})`;
}

export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`.trimEnd(),
    )
    .join('\n');
}
