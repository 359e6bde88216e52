import { CodedError } from '../errors.js';

/** Throws where something that is declared once more differs from what it was declared with. `place` is what it is and where. */
export function checkSameSettings(place: string, current: object, received: Readonly<Record<string, boolean | string>>): void {
  for (const [field, value] of Object.entries(received)) {
    const now = (current as Record<string, unknown>)[field === 'auto_delete' ? 'autoDelete' : field];
    if (now === value) continue;
    throw new CodedError(
      'inequivalent-arguments',
      `inequivalent arg '${field}' for ${place}: received '${String(value)}' but current is '${String(now)}'`,
    );
  }
}
