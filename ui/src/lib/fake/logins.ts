import type { LoginInfo } from '../bindings/LoginInfo';
import type { Problem } from '../bindings/Problem';

/** Servers that ask who one is: every one has a part that is private, and accepts every password but this one. */
const WRONG = 'wrong';

/** Who is signed in to which server. */
export class Logins {
  list: LoginInfo[] = [];

  /** Throws what a server says of an address that is private. */
  check(url: string): void {
    if (/\/private\//.test(url) && !this.list.some((login) => login.server === new URL(url).origin)) {
      throw refused(url, 'the server asks for a user and a password');
    }
  }

  login(url: string, user: string, password: string): void {
    if (password === WRONG) throw refused(url, 'the server does not accept the user and the password that it was given');
    const server = new URL(url).origin;
    this.list = [...this.list.filter((login) => login.server !== server), { server, user, file: null }];
  }

  logout(url: string): void {
    this.list = this.list.filter((login) => login.server !== new URL(url).origin);
  }
}

function refused(url: string, why: string): Problem {
  return { code: 'login', message: `${url}: ${why}.`, hint: `Sign in with “livepc login ${url}”.`, sign_in: url };
}
