/**
 * Message classes with decorators of class-validator: what comes in becomes an instance of the class, nested ones too where class-transformer's `@Type` says of
 * what, and is held to the decorators, as is what goes out. Both packages are the application's: where nothing was decorated nothing is loaded.
 *
 * Fields without a decorator stay: whoever publishes may be newer than whoever handles.
 */
import type { ValidationError } from 'class-validator';
import { MessagingError, reasonOf } from './errors.js';
import { isMissing } from './missing-package.js';
import type { MessageClass } from './message-definition.js';
import type { ClassSchemas, StandardIssue, StandardResult, StandardSchema } from './policies/validation.js';

type Validator = Pick<typeof import('class-validator'), 'getMetadataStorage' | 'validate'>;
type Transformer = Pick<typeof import('class-transformer'), 'plainToClassFromExist'>;

/** Where all copies of class-validator keep what was decorated. */
const DECORATED = 'classValidatorMetadataStorage';
const NESTED = 'nestedValidation';

/** The decorators of one class, as a schema. */
export class ClassSchema implements StandardSchema {
  readonly '~standard' = {
    version: 1 as const,
    vendor: 'class-validator',
    validate: (value: unknown): Promise<StandardResult> => this.#validate(value),
  };

  constructor(
    private readonly messageClass: MessageClass,
    private readonly validator: Validator,
    private readonly transformer: Transformer | undefined,
  ) {}

  /** The constructor of the class is not called, for a payload is no list of arguments; those of nested ones are, without any. */
  instance(fields: object): object {
    const bare = Object.create(this.messageClass.prototype as object) as object;
    return this.transformer === undefined ? Object.assign(bare, fields) : this.transformer.plainToClassFromExist(bare, fields);
  }

  async #validate(value: unknown): Promise<StandardResult> {
    if (typeof value !== 'object' || value === null)
      return { issues: [{ message: `is no object, which ${this.messageClass.name} needs` }] };
    const event = value instanceof this.messageClass ? value : this.instance(value);
    const errors = await this.validator.validate(event, { validationError: { target: false, value: false } });
    return errors.length === 0 ? { value: event } : { issues: errors.flatMap((error) => issuesOf(error, [])) };
  }
}

/** Finds the schema of a class; nothing for one without a decorator. */
export class ClassValidation implements ClassSchemas {
  readonly #schemas = new WeakMap<object, { readonly schema: ClassSchema | undefined }>();

  constructor(
    private readonly validator: Validator,
    private readonly transformer: Transformer | undefined,
  ) {}

  /** Throws a `MessagingError` of code `missing-package` where it holds others that only class-transformer can make. */
  schemaOf(messageClass: MessageClass): ClassSchema | undefined {
    let known = this.#schemas.get(messageClass);
    if (known === undefined) this.#schemas.set(messageClass, (known = { schema: this.#make(messageClass) }));
    return known.schema;
  }

  #make(messageClass: MessageClass): ClassSchema | undefined {
    const decorated = this.validator.getMetadataStorage().getTargetValidationMetadatas(messageClass, '', true, false);
    if (decorated.length === 0) return undefined;
    const nested = decorated.find(({ type }) => type === NESTED);
    if (nested !== undefined && this.transformer === undefined) {
      throw new MessagingError(
        'missing-package',
        `${messageClass.name}.${nested.propertyName} has @ValidateNested, and what comes in is made an instance by the package class-transformer, which is not installed: npm install class-transformer, and put @Type on the field.`,
      );
    }
    return new ClassSchema(messageClass, this.validator, this.transformer);
  }
}

/** Nothing where the application decorated nothing. */
export async function classValidation(): Promise<ClassValidation | undefined> {
  if (!(DECORATED in globalThis)) return undefined;
  return new ClassValidation(await classValidator(), await classTransformer());
}

async function classValidator(): Promise<Validator> {
  try {
    return await import('class-validator');
  } catch (error) {
    throw new MessagingError(
      'missing-package',
      `Classes of this application are decorated for class-validator, which cannot be loaded here (${reasonOf(error)}): npm install class-validator where @dovecote/messaging is installed.`,
      { cause: error },
    );
  }
}

async function classTransformer(): Promise<Transformer | undefined> {
  try {
    return await import('class-transformer');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** class-validator's sentences name the field themselves: the path is that of what it stands in. */
function issuesOf({ property, constraints = {}, children = [] }: ValidationError, path: readonly string[]): StandardIssue[] {
  const own = Object.values(constraints).map((message) => ({ message, path }));
  return [...own, ...children.flatMap((child) => issuesOf(child, [...path, property]))];
}
