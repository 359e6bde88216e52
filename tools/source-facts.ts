/**
 * What layer-check.ts needs to know of one source file, read by TypeScript's own parser: what it imports, what it uses of the machine, what it
 * declares, how long it is. Facts only; whether they are allowed is not decided here.
 */
import ts from 'typescript';
import { machine } from './layers.js';

export interface Import {
  readonly specifier: string;
  /** Names taken from it; empty for a namespace, a side effect or a dynamic import. */
  readonly names: readonly string[];
  /** Gone when the program runs. */
  readonly isTypeOnly: boolean;
  readonly line: number;
}

export type MarkKind =
  | 'machine'
  | 'environment'
  | 'export-star'
  | 'default-export'
  | 'forward-ref'
  | 'enum'
  | 'abstract-class'
  | 'i-prefix'
  | 'import-meta'
  | 'top-level-await';

/** Something that stands in the file, by kind, as it is written there. */
export interface Mark {
  readonly kind: MarkKind;
  readonly text: string;
  readonly line: number;
}

export interface MeasuredFunction {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

export interface SourceFacts {
  readonly path: string;
  readonly lines: number;
  /** A comment stands at the left margin: over the file, or over what is in it. */
  readonly isExplained: boolean;
  readonly imports: readonly Import[];
  readonly marks: readonly Mark[];
  readonly functions: readonly MeasuredFunction[];
}

export function readFacts(path: string, text: string): SourceFacts {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const imports: Import[] = [];
  const marks: Mark[] = [];
  const functions: MeasuredFunction[] = [];
  const lineOf = (node: ts.Node): number => file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;

  const visit = (node: ts.Node, inFunction: boolean): void => {
    const imported = importOf(node);
    if (imported !== undefined) imports.push({ ...imported, line: lineOf(node) });
    for (const mark of marksOf(node, inFunction)) marks.push({ ...mark, line: lineOf(node) });
    const isFunction = ts.isFunctionLike(node) && 'body' in node && node.body !== undefined;
    if (isFunction && !isSuite(node)) {
      const end = file.getLineAndCharacterOfPosition(node.getEnd()).line + 1;
      functions.push({ name: nameOf(node), line: lineOf(node), lines: end - lineOf(node) + 1 });
    }
    ts.forEachChild(node, (child) => visit(child, inFunction || isFunction));
  };
  visit(file, false);
  const isExplained = /^(?:\/\*\*|\/\/)/m.test(text);
  return { path, isExplained, lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0), imports, marks, functions };
}

function importOf(node: ts.Node): Omit<Import, 'line'> | undefined {
  if (ts.isImportDeclaration(node)) {
    const clause = node.importClause;
    const named =
      clause?.namedBindings !== undefined && ts.isNamedImports(clause.namedBindings) ? clause.namedBindings.elements : undefined;
    const isTypeOnly = clause?.isTypeOnly === true || (clause?.name === undefined && named?.every((one) => one.isTypeOnly) === true);
    return { specifier: textOf(node.moduleSpecifier), names: namesOf(named), isTypeOnly };
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
    const named = node.exportClause !== undefined && ts.isNamedExports(node.exportClause) ? node.exportClause.elements : undefined;
    const isTypeOnly = node.isTypeOnly || named?.every((one) => one.isTypeOnly) === true;
    return { specifier: textOf(node.moduleSpecifier), names: namesOf(named), isTypeOnly };
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
    return { specifier: textOf(node.argument.literal), names: [], isTypeOnly: true };
  if (ts.isCallExpression(node)) {
    const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword || isNamed(node.expression, 'require');
    const [from] = node.arguments;
    if (isImport && from !== undefined && ts.isStringLiteralLike(from)) return { specifier: from.text, names: [], isTypeOnly: false };
  }
  return undefined;
}

function namesOf(named: readonly (ts.ImportSpecifier | ts.ExportSpecifier)[] | undefined): readonly string[] {
  return named?.map((one) => (one.propertyName ?? one.name).text) ?? [];
}

function* marksOf(node: ts.Node, inFunction: boolean): Generator<Omit<Mark, 'line'>> {
  if (ts.isExportDeclaration(node) && (node.exportClause === undefined || ts.isNamespaceExport(node.exportClause)))
    yield { kind: 'export-star', text: node.getText() };
  if (ts.isExportAssignment(node)) yield { kind: 'default-export', text: 'export default' };
  if (ts.canHaveModifiers(node)) {
    const modifiers = ts.getModifiers(node)?.map((modifier) => modifier.kind) ?? [];
    if (modifiers.includes(ts.SyntaxKind.DefaultKeyword)) yield { kind: 'default-export', text: 'export default' };
    if (ts.isClassDeclaration(node) && modifiers.includes(ts.SyntaxKind.AbstractKeyword))
      yield { kind: 'abstract-class', text: nameOf(node) };
  }
  if (ts.isEnumDeclaration(node)) yield { kind: 'enum', text: node.name.text };
  if (ts.isInterfaceDeclaration(node) && /^I[A-Z][a-z]/.test(node.name.text)) yield { kind: 'i-prefix', text: node.name.text };
  if (ts.isIdentifier(node) && node.text === 'forwardRef') yield { kind: 'forward-ref', text: node.text };
  if (ts.isMetaProperty(node) && node.keywordToken === ts.SyntaxKind.ImportKeyword) yield { kind: 'import-meta', text: node.getText() };
  if (!inFunction && (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)))
    yield { kind: 'top-level-await', text: 'await' };
  const touched = environmentOf(node) ?? machineOf(node);
  if (touched !== undefined) yield touched;
}

function environmentOf(node: ts.Node): Omit<Mark, 'line'> | undefined {
  const member = memberOf(node);
  // `{ ...process.env }` hands all of it on to a child, and reads none of it.
  if (member?.object === 'process' && member.name === 'env' && !ts.isSpreadAssignment(node.parent))
    return { kind: 'environment', text: 'process.env' };
  if (namesTakenFrom(node, 'process')?.includes('env') === true) return { kind: 'environment', text: '{ env } = process' };
  return undefined;
}

function machineOf(node: ts.Node): Omit<Mark, 'line'> | undefined {
  const member = memberOf(node);
  if (member !== undefined) {
    const { object, name } = member;
    const isTouched =
      membersOf(object).includes(name) || machine.chance.includes(name) || (object === 'globalThis' && machine.globals.includes(name));
    return isTouched ? { kind: 'machine', text: `${object}.${name}` } : undefined;
  }
  for (const [object, names] of Object.entries(machine.members)) {
    const taken = namesTakenFrom(node, object)?.find((name) => names.includes(name));
    if (taken !== undefined) return { kind: 'machine', text: `{ ${taken} } = ${object}` };
  }
  if (ts.isNewExpression(node) && isNamed(node.expression, 'Date') && (node.arguments?.length ?? 0) === 0)
    return { kind: 'machine', text: 'new Date()' };
  if (ts.isCallExpression(node) && isNamed(node.expression, 'Date')) return { kind: 'machine', text: 'Date()' };
  if (ts.isIdentifier(node) && machine.globals.includes(node.text) && isValue(node)) return { kind: 'machine', text: node.text };
  return undefined;
}

function membersOf(object: string): readonly string[] {
  return Object.hasOwn(machine.members, object) ? (machine.members[object] ?? []) : [];
}

/** `object.name` or `object['name']`, also behind `globalThis.`. */
function memberOf(node: ts.Node): { readonly object: string; readonly name: string } | undefined {
  const isElement = ts.isElementAccessExpression(node) && ts.isStringLiteralLike(node.argumentExpression);
  if (!isElement && !ts.isPropertyAccessExpression(node)) return undefined;
  const name = ts.isPropertyAccessExpression(node) ? node.name.text : textOf(node.argumentExpression);
  const object = ts.isPropertyAccessExpression(node.expression) ? node.expression.name : node.expression;
  return { object: ts.isIdentifier(object) ? object.text : '', name };
}

/** The names taken by `const { a, b: c } = object`. */
function namesTakenFrom(node: ts.Node, object: string): readonly string[] | undefined {
  if (!ts.isVariableDeclaration(node) || node.initializer === undefined || !isNamed(node.initializer, object)) return undefined;
  if (!ts.isObjectBindingPattern(node.name)) return undefined;
  return node.name.elements.map((one) => (one.propertyName ?? one.name).getText());
}

/** False for the name of a member or of a type: `this.fetch`, `{ fetch() {} }`, `typeof setTimeout` in a type. */
function isValue(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isShorthandPropertyAssignment(parent)) return true;
  if (ts.isClassElement(parent) || ts.isTypeElement(parent) || ts.isPropertyAssignment(parent)) {
    const own: ts.Node | undefined = parent.name;
    return own !== node;
  }
  return !ts.isTypeNode(parent) && !ts.isQualifiedName(parent);
}

/** The callback of `describe`: a heading over functions, not a function. */
function isSuite(node: ts.Node): boolean {
  const call = node.parent;
  if (!ts.isCallExpression(call)) return false;
  return /^describe\b/.test(call.expression.getText());
}

function nameOf(node: ts.Node): string {
  if (ts.isConstructorDeclaration(node)) return `${nameOf(node.parent)}.constructor`;
  if ((ts.isClassElement(node) || ts.isClassDeclaration(node) || ts.isFunctionDeclaration(node)) && node.name !== undefined) {
    const own = node.name.getText();
    return ts.isClassElement(node) && ts.isClassLike(node.parent) ? `${nameOf(node.parent)}.${own}` : own;
  }
  const { parent } = node;
  if (parent !== undefined && (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent)))
    return parent.name.getText();
  return '(unnamed)';
}

function isNamed(node: ts.Node, name: string): boolean {
  return ts.isIdentifier(node) && node.text === name;
}

function textOf(node: ts.Node): string {
  return ts.isStringLiteralLike(node) ? node.text : '';
}
