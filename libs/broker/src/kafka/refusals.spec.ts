/** What a client is told of an error. */
import { describe, expect, it } from '@jest/globals';
import { DiskError } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { errorCodes } from './error-codes.js';
import { errorNameOf, refusal } from './refusals.js';

describe('an error in the midst of a request', () => {
  it('is the number that Kafka has for it, also where a file beside the journal could not be written', () => {
    expect(errorNameOf(new CodedError('disk-full', 'no room'))).toBe('kafkaStorageError');
    const failed = new DiskError('failed', 'cannot write topics/orders.json.tmp: the device failed');
    expect(refusal(failed)).toEqual({ errorCode: errorCodes.kafkaStorageError, errorMessage: failed.message });
  });

  it('is thrown on where it is a fault of the broker', () => {
    expect(() => errorNameOf(new TypeError('no function'))).toThrow(TypeError);
  });
});
