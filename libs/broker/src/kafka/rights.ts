import type { AccessControl } from '../engine/access-control.js';
import type { UserAccess } from '../engine/user-access.js';

/** Make and unmake a topic or group and change its configs; put records into it; take them out. What permissions are given for. */
export type Deed = 'configure' | 'write' | 'read';

/** What one client may do. Asked for each request, because it may be given and taken while the client is connected. */
export interface Rights {
  may(deed: Deed, name: string): boolean;
  /** May have anything to do with it: whoever may not does not hear that it is there. */
  maySee(name: string): boolean;
  /** May do something at all. */
  readonly isAdmitted: boolean;
  /** May look at the broker's own: its configs, its folder. */
  readonly isOperator: boolean;
}

/** Of clients that nobody asks who they are. */
export const allRights: Rights = { may: () => true, maySee: () => true, isAdmitted: true, isOperator: true };

const operatorTags: ReadonlySet<string> = new Set(['administrator', 'monitoring']);

/** The rights of a user: the permissions in the virtual host `/`, read for the names of topics and groups. Nothing of it is kept. */
export class UserRights implements Rights {
  private access: UserAccess | undefined;

  constructor(
    private readonly control: AccessControl,
    private readonly user: string,
  ) {}

  may(deed: Deed, name: string): boolean {
    return this.current().allows(deed, name);
  }

  maySee(name: string): boolean {
    const access = this.current();
    return access.allows('read', name) || access.allows('write', name) || access.allows('configure', name);
  }

  get isAdmitted(): boolean {
    return this.current().isAdmitted;
  }

  get isOperator(): boolean {
    return this.control.tagsOf(this.user)?.some((tag) => operatorTags.has(tag)) ?? false;
  }

  /** One that is admitted is told of changes; one that is not may be another one tomorrow. */
  private current(): UserAccess {
    if (this.access?.isAdmitted !== true) this.access = this.control.accessOf(this.user, '/');
    return this.access;
  }
}
