/** @golevelup/nestjs-rabbitmq as it comes: a message says nothing but its body. */
import { fail, runClient } from '../../dist/transports/client-program.js';
import { clientWith } from './golevelup.mjs';

runClient(clientWith(() => ({ persistent: true }))).catch(fail);
