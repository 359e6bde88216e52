import { ClassSchema } from '../class-validation.js';
import { MessagingError, reasonOf } from '../errors.js';
import type { MessageClass } from '../message-definition.js';
import type { Step } from './step.js';

/** What a schema library offers to others (standardschema.dev): zod, valibot, arktype and more. */
export interface StandardSchema {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    validate(value: unknown): StandardResult | Promise<StandardResult>;
  };
}

/** What classes say of themselves, without a schema. */
export interface ClassSchemas {
  schemaOf(messageClass: MessageClass): StandardSchema | undefined;
}

export type StandardResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | {
      readonly issues: readonly StandardIssue[];
    };

export interface StandardIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * What does not fit is not handled, and no repetition can mend it. What a schema makes of the value is left: a handler is given an instance of its class.
 */
export function validate(schema: StandardSchema): Step {
  return (handle) => (event, message) => {
    const result = schema['~standard'].validate(subjectOf(schema, event));
    // Most schemas answer at once, and a promise more for each message is one too many.
    if (result instanceof Promise) return whenItFits(result, () => handle(event, message));
    return result.issues === undefined ? handle(event, message) : Promise.reject(misfit(result));
  };
}

async function whenItFits(result: Promise<StandardResult>, handle: () => Promise<unknown>): Promise<unknown> {
  const late = await result;
  if (late.issues !== undefined) throw misfit(late);
  return handle();
}

/** Resolves to what is wrong; nothing for what fits. */
export async function misfitOf(schema: StandardSchema, event: object): Promise<MessagingError | undefined> {
  const result = await schema['~standard'].validate(subjectOf(schema, event));
  return result.issues === undefined ? undefined : misfit(result);
}

/** A schema may refuse what is no plain object; that of a class is made for its instances. */
function subjectOf(schema: StandardSchema, event: object): object {
  return schema instanceof ClassSchema ? event : { ...event };
}

export function misfit(result: StandardResult): MessagingError {
  const { issues = [] } = result;
  const said = issues.slice(0, ISSUES_TOLD).map(({ message, path }) => {
    const where = (path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.');
    return where === '' ? reasonOf(message) : `${where}: ${reasonOf(message)}`;
  });
  if (issues.length > said.length) said.push(`and ${issues.length - said.length} more`);
  return new MessagingError('unreadable', `its payload does not fit its schema (${said.join('; ')})`);
}

const ISSUES_TOLD = 20;
