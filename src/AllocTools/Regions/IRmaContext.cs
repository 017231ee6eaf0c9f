using AllocTools.Endpoints;

namespace AllocTools.Regions;

/// <summary>
/// An opened transport: registers memory and makes endpoints. Reference-counted: pools, endpoints and registrations
/// that live on each hold a reference, and what it opened is closed when the last one is released. Disposing the context
/// releases its opener's reference; doing it again does nothing.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public interface IRmaContext : IDisposable
{
    /// <summary>What the transport demands and promises.</summary>
    RmaProviderTraits Traits { get; }

    /// <summary>
    /// Why the transport no longer works, such as a device that is gone or a call into it that does not return; null
    /// while it does. For health checks: operations and registrations report their own failures.
    /// </summary>
    RmaException? Failure => null;

    /// <summary>What hinders the transport while it works all the same, such as a peer that holds up others: a sentence each, without a full stop. For health checks.</summary>
    IReadOnlyCollection<string> Hindrances => [];

    /// <summary>Registers memory.</summary>
    /// <param name="address">The first byte; aligned as the traits say. It must stay mapped until it is deregistered.</param>
    /// <param name="length">Bytes, 1 or more.</param>
    /// <param name="access">What for; <see cref="RmaAccess.Local"/> is always included.</param>
    /// <exception cref="RmaRegistrationException">The transport refused. Nothing is left behind, but where it says <see cref="RmaRegistrationException.IsStillRegistered"/>.</exception>
    /// <exception cref="NotSupportedException">Remote access, or some of it, is not supported; the message names it.</exception>
    IRmaRegistration Register(nint address, long length, RmaAccess access);

    /// <summary>
    /// As <see cref="Register"/>, for memory that the process may only read: the transport must not ask for more. The pool
    /// lets no operation write to it.
    /// </summary>
    /// <param name="address">As of <see cref="Register"/>.</param>
    /// <param name="length">As of <see cref="Register"/>.</param>
    /// <param name="access">As of <see cref="Register"/>; never <see cref="RmaAccess.RemoteWrite"/>.</param>
    /// <inheritdoc cref="Register" path="/exception"/>
    IRmaRegistration RegisterReadOnly(nint address, long length, RmaAccess access) => Register(address, length, access);

    /// <summary>Undoes a registration. After an exception the memory must stay mapped: the transport may still reach it.</summary>
    /// <param name="registration">One that this context made, once.</param>
    /// <exception cref="RmaRegistrationException">The transport refused.</exception>
    void Deregister(IRmaRegistration registration);

    /// <summary>Opens an endpoint, or the context's only one where registrations are bound to it.</summary>
    /// <exception cref="RmaProviderException">It can't be opened.</exception>
    /// <exception cref="InvalidOperationException">Registrations are bound to the context's only endpoint, and it was handed out before.</exception>
    IRmaEndpoint OpenEndpoint();

    /// <summary>Takes one more reference, which keeps the context open after its opener has disposed it.</summary>
    /// <returns>The reference: disposing it releases it, once.</returns>
    /// <exception cref="ObjectDisposedException">The last reference was released.</exception>
    IDisposable Retain();
}
