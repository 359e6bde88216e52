import { contentRoutingKey, propertiesEnd, propertiesStart } from './content.js';
import type { RoutedMessage } from './exchange-type.js';
import { delayIn } from './delay.js';
import { decodeFieldTable, type FieldTable } from './field-table.js';
import { decodeProperties, findProperty, type MessageProperties } from './properties.js';

/** A message of which only the key is known: enough for an exchange that reads nothing else. */
export class KeyedMessage implements RoutedMessage {
  readonly routingKeys: readonly string[];
  readonly headers: FieldTable = {};
  readonly properties: MessageProperties = {};
  /** Whether it is to be held is not known. */
  readonly delayMs = 0;

  constructor(readonly routingKey: string) {
    this.routingKeys = [routingKey];
  }
}

/** A message whose content image is at hand. Valid as long as the image's bytes are; nothing is decoded before it is asked for. */
export class ContentMessage implements RoutedMessage {
  readonly routingKey: string;
  readonly routingKeys: readonly string[];
  private decodedHeaders: FieldTable | undefined;
  private decodedProperties: MessageProperties | undefined;

  constructor(
    private readonly bytes: Buffer,
    private readonly start: number,
    extraKeys: readonly string[] = [],
  ) {
    this.routingKey = contentRoutingKey(bytes, start);
    this.routingKeys = [this.routingKey, ...extraKeys];
  }

  /** How long an exchange that delays holds it; 0 for not at all. */
  get delayMs(): number {
    return delayIn(this.bytes, this.start);
  }

  get headers(): FieldTable {
    if (this.decodedHeaders === undefined) {
      const { bytes, start } = this;
      const at = findProperty(bytes, propertiesStart(bytes, start), 'headers');
      this.decodedHeaders = at < 0 ? {} : decodeFieldTable(bytes, at, propertiesEnd(bytes, start));
    }
    return this.decodedHeaders;
  }

  get properties(): MessageProperties {
    const { bytes, start } = this;
    this.decodedProperties ??= decodeProperties(bytes, propertiesStart(bytes, start), propertiesEnd(bytes, start));
    return this.decodedProperties;
  }
}
