/**
 * What the payload of a message must be, as JSON Schema: for documents and for others. Of a class with decorators of class-validator by the package
 * class-validator-jsonschema, of a Standard Schema by itself where it can tell. Keeps nothing.
 */
import { MessagingError } from './errors.js';
import { isMissing } from './missing-package.js';
import { type MessageClass, messageDefinitionOf } from './message-definition.js';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** The part of a schema library that not all have (standardschema.dev/json-schema). */
interface TellsJsonSchema {
  readonly jsonSchema?: { input(options: { readonly target: 'draft-2020-12' }): JsonSchema };
}

/** What is used of the storage of class-transformer, where `@Type` records itself. */
interface TransformerStorage {
  readonly defaultMetadataStorage: NonNullable<
    NonNullable<Parameters<Packages[0]['targetConstructorToSchema']>[1]>['classTransformerMetadataStorage']
  >;
}

type Packages = readonly [
  Pick<typeof import('class-validator-jsonschema'), 'targetConstructorToSchema'>,
  Pick<typeof import('class-validator'), 'getMetadataStorage'>,
  TransformerStorage | undefined,
];

/** A class whose fields may be decorated; a message's, or one that it holds. */
interface Decorated {
  readonly name: string;
  readonly prototype: object;
}

/**
 * Nothing for a class that says nothing of its payload, or whose schema library cannot tell. Rejects with a `MessagingError` of code `missing-package` where
 * class-validator-jsonschema is not installed.
 */
export async function jsonSchemaOf(messageClass: MessageClass): Promise<JsonSchema | undefined> {
  const standard = messageDefinitionOf(messageClass)?.schema?.['~standard'] as TellsJsonSchema | undefined;
  if (standard !== undefined) return standard.jsonSchema?.input({ target: 'draft-2020-12' });
  if (!('classValidatorMetadataStorage' in globalThis)) return undefined;
  const packages = await load();
  if (decoratedFields(packages, messageClass as Decorated).length === 0) return undefined;
  const definitions: Record<string, JsonSchema> = {};
  const schema = schemaOf(packages, messageClass as Decorated, definitions);
  return Object.keys(definitions).length === 0 ? schema : { ...schema, definitions };
}

/** With what it holds among the definitions. */
function schemaOf(packages: Packages, decorated: Decorated, definitions: Record<string, JsonSchema>): JsonSchema {
  const [{ targetConstructorToSchema }, , transformer] = packages;
  for (const { type, propertyName } of decoratedFields(packages, decorated)) {
    if (type !== 'nestedValidation') continue;
    const nested = typeOfField(transformer, decorated, propertyName);
    if (nested === undefined || definitions[nested.name] !== undefined) continue;
    // Before it is known, because it may hold itself.
    definitions[nested.name] = {};
    definitions[nested.name] = schemaOf(packages, nested, definitions);
  }
  const classTransformerMetadataStorage = transformer?.defaultMetadataStorage;
  const options = classTransformerMetadataStorage === undefined ? {} : { classTransformerMetadataStorage };
  // The package asks for any function; a class is one.
  return { ...targetConstructorToSchema(decorated as unknown as () => void, options) };
}

function decoratedFields([, { getMetadataStorage }]: Packages, decorated: Decorated): readonly { type: string; propertyName: string }[] {
  return getMetadataStorage().getTargetValidationMetadatas(decorated as unknown as () => void, '', true, false);
}

/** What `@Type` says, of a list its items. */
function typeOfField(transformer: Packages[2], owner: Decorated, field: string): Decorated | undefined {
  const found = transformer?.defaultMetadataStorage.findTypeMetadata(owner as unknown as () => void, field);
  const type: unknown = found?.typeFunction();
  return typeof type === 'function' ? (type as unknown as Decorated) : undefined;
}

async function load(): Promise<Packages> {
  const [schemas, validator] = await Promise.all([required('class-validator-jsonschema'), required('class-validator')]);
  return [schemas as Packages[0], validator as Packages[1], await storage()];
}

async function required(name: 'class-validator-jsonschema' | 'class-validator'): Promise<unknown> {
  try {
    return await (name === 'class-validator' ? import('class-validator') : import('class-validator-jsonschema'));
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new MessagingError(
      'missing-package',
      `JSON Schema of decorated classes is made by the package ${name}, which is not installed: npm install ${name}.`,
      { cause: error },
    );
  }
}

/** The package does not show it at its door. */
const STORAGE: string = 'class-transformer/cjs/storage.js';

async function storage(): Promise<Packages[2]> {
  try {
    return (await import(STORAGE)) as TransformerStorage;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
