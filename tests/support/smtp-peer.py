"""An SMTP server by aiosmtpd for tests: STARTTLS and a login are required; what it takes is printed, a JSON object per message.

    smtp-peer.py PORT CERTIFICATE KEY USER PASSWORD
"""
import asyncio
import base64
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

port, certificate, key, user, password = sys.argv[1:]


class Handler:
    def __init__(self):
        self.later = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split('@')[0]
        if name.startswith('no'):
            return '550 5.1.1 no such user'
        if name.startswith('later') and address not in self.later:
            self.later.add(address)
            return '450 4.7.1 greylisted'
        envelope.rcpt_tos.append(address)
        return '250 2.1.5 ok'

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            'from': envelope.mail_from,
            'to': envelope.rcpt_tos,
            'options': envelope.mail_options,
            'tls': session.ssl is not None,
            'user': session.auth_data,
            'content': base64.b64encode(envelope.original_content).decode(),
        }), flush=True)
        return '250 2.0.0 taken'


def authenticate(server, session, envelope, mechanism, data):
    good = data.login.decode() == user and data.password.decode() == password
    return AuthResult(success=good, auth_data=data.login.decode(), handled=False)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = Handler()
    loop = asyncio.get_running_loop()

    def server():
        return SMTP(handler, tls_context=context, require_starttls=True, auth_required=True,
                    authenticator=authenticate, enable_SMTPUTF8=True, hostname='aiosmtpd.example.org', loop=loop)

    listening = await loop.create_server(server, '127.0.0.1', int(port))
    await listening.serve_forever()


asyncio.run(main())
