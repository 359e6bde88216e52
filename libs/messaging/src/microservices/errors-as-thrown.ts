import { Catch, type ExceptionFilter } from '@nestjs/common';
import { type Observable, throwError } from 'rxjs';

/**
 * Gives an error to the delivery as the handler threw it. Without it Nest makes "Internal server error" of everything but an `RpcException`: dead letters would
 * say no more than that, and `retry.fatal` could not tell one error from another. `@UseFilters(ErrorsAsThrown)` on a controller.
 */
@Catch()
export class ErrorsAsThrown implements ExceptionFilter {
  catch(exception: unknown): Observable<never> {
    return throwError(() => exception);
  }
}
