"""Commands and queries of accounts."""

from __future__ import annotations

from msgspec.structs import replace

from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts import passwords
from ecokart.features.accounts.model import (
    CUSTOMERS,
    EMAILS,
    MAX_ADDRESSES,
    SESSION_LENGTH,
    SESSIONS,
    Address,
    Customer,
    EmailClaim,
    EmailTaken,
    NoSuchAddress,
    SavedAddress,
    Session,
    SessionEnded,
    TooManyAddresses,
    WrongCredentials,
    folded,
)


async def register(
    ports: Ports, email: str, password: str, name: str, language: str, *, role: str = "customer"
) -> Customer:
    """A new account. Raises `EmailTaken`, however many try at once."""
    password_hash = await passwords.hashed(password)
    return await transact(
        ports, add_customer, email, password_hash, name=name, language=language, role=role
    )


async def sign_in(ports: Ports, email: str, password: str) -> tuple[Customer, Session]:
    """A session for the owner of the password. Raises `WrongCredentials`, for whatever reason.

    A password kept by an older method is kept by today's from now on.
    """
    claim = await ports.records.get(EMAILS, folded(email))
    found = await ports.records.get(CUSTOMERS, claim.value.customer_id) if claim else None
    customer = found.value if found else None
    right, renewed = await passwords.verify(password, customer.password_hash if customer else None)
    if not right or customer is None:
        raise WrongCredentials
    session = await transact(ports, begin_session, customer.id, renewed)
    return customer, session


async def add_customer(
    tx: Transaction, email: str, password_hash: str, *, name: str, language: str, role: str
) -> Customer:
    """Raises `EmailTaken`."""
    if await tx.get(EMAILS, folded(email)):
        raise EmailTaken
    customer = Customer(
        id=f"user-{tx.new_id()}",
        email=email.strip(),
        name=name.strip(),
        password_hash=password_hash,
        role=role,
        language=language,
        created_at=tx.now,
    )
    tx.put(EMAILS, EmailClaim(folded(email), customer.id))
    tx.add(CUSTOMERS, customer)
    return customer


async def take_over(tx: Transaction, customer_id: str, *, name: str) -> bool:
    """An account for a customer of the past, known by name alone; False if it is here already.

    Without an e-mail address or a password nobody can sign in with it.
    """
    if await tx.get(CUSTOMERS, customer_id):
        return False
    tx.add(
        CUSTOMERS,
        Customer(id=customer_id, email="", name=name, password_hash="", created_at=tx.now),
    )
    return True


async def begin_session(tx: Transaction, customer_id: str, renewed_hash: str | None) -> Session:
    """Sign the customer in for seven days, and keep the password's renewed hash if there is one."""
    customer = await tx.get(CUSTOMERS, customer_id)
    if customer is None:
        raise WrongCredentials
    if renewed_hash:
        tx.put(CUSTOMERS, replace(customer, password_hash=renewed_hash))
    session = Session(
        id=tx.new_id(),
        customer_id=customer.id,
        role=customer.role,
        email=customer.email,
        created_at=tx.now,
        expires_at=tx.now + SESSION_LENGTH,
    )
    tx.add(SESSIONS, session)
    return session


async def end_session(tx: Transaction, session_id: str) -> None:
    """Sign out: the session's token opens nothing any more."""
    tx.delete(SESSIONS, session_id)


async def session(ports: Ports, session_id: str) -> Session:
    """The session if it still holds. Raises `SessionEnded`."""
    found = await ports.records.get(SESSIONS, session_id)
    if found is None:
        raise SessionEnded
    return found.value


async def customer(tx: Transaction, customer_id: str) -> Customer:
    """Raises `SessionEnded` when the account is gone."""
    found = await tx.get(CUSTOMERS, customer_id)
    if found is None:
        raise SessionEnded
    return found


async def add_address(tx: Transaction, customer_id: str, address: Address) -> SavedAddress:
    """Into the address book, where the same one is kept once. Raises `WrongPostalCode` and `TooManyAddresses`."""
    address.check()
    owner = await customer(tx, customer_id)
    if known := next((saved for saved in owner.addresses if saved.address == address), None):
        return known
    if len(owner.addresses) >= MAX_ADDRESSES:
        raise TooManyAddresses(most=MAX_ADDRESSES)
    saved = SavedAddress(tx.new_id(), address)
    tx.put(CUSTOMERS, replace(owner, addresses=(*owner.addresses, saved)))
    return saved


async def remove_address(tx: Transaction, customer_id: str, address_id: str) -> None:
    """Raises `NoSuchAddress`."""
    owner = await customer(tx, customer_id)
    left = tuple(saved for saved in owner.addresses if saved.id != address_id)
    if len(left) == len(owner.addresses):
        raise NoSuchAddress
    tx.put(CUSTOMERS, replace(owner, addresses=left))
