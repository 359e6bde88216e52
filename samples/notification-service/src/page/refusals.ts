/** How the page's API answers what it will not do: a sentence as JSON, which the page shows. */
import {
  type ArgumentsHost,
  type CanActivate,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  ForbiddenException,
} from '@nestjs/common';
import { Refusal } from '../refusal.js';

/** What is used of Express here; its types are not installed. */
interface Response {
  status(code: number): { json(body: object): void };
}
interface Request {
  readonly headers: { readonly origin?: string; readonly host?: string };
}

@Catch(Refusal)
export class RefusalFilter implements ExceptionFilter<Refusal> {
  catch(refusal: Refusal, host: ArgumentsHost): void {
    host.switchToHttp().getResponse<Response>().status(409).json({ statusCode: 409, message: refusal.message });
  }
}

/** Another site, open in the same browser, must not be able to press our buttons. */
export class SameOrigin implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { origin, host } = context.switchToHttp().getRequest<Request>().headers;
    if (origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)) return true;
    throw new ForbiddenException('Only the page itself may do this.');
  }
}
