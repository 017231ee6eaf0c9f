using AllocTools.Endpoints;

namespace AllocTools.Regions;

/// <summary>
/// An open transport, which registers memory and opens endpoints. It is reference-counted: each pool, endpoint and
/// registration on it holds a reference, and the transport is closed when the last one is released. Disposing the
/// context releases its opener's reference; disposing it again does nothing.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public interface IRmaContext : IDisposable
{
    /// <summary>The requirements and guarantees of the transport.</summary>
    RmaProviderTraits Traits { get; }

    /// <summary>
    /// Why the transport no longer works, such as a device that is gone or a call into it that does not return; null
    /// while it does. It is meant for health checks, because operations and registrations report their own failures.
    /// </summary>
    RmaException? Failure => null;

    /// <summary>
    /// Problems of the transport that don't stop it, such as a peer that holds up others: one sentence for each,
    /// without a full stop. They are meant for health checks.
    /// </summary>
    IReadOnlyCollection<string> Hindrances => [];

    /// <summary>Registers memory.</summary>
    /// <param name="address">The first byte; aligned as the traits say. It must stay mapped until it is deregistered.</param>
    /// <param name="length">Bytes, 1 or more.</param>
    /// <param name="access">The access to allow; <see cref="RmaAccess.Local"/> is always included.</param>
    /// <exception cref="RmaRegistrationException">The transport refused. Nothing stays registered, unless <see cref="RmaRegistrationException.IsStillRegistered"/> is true.</exception>
    /// <exception cref="NotSupportedException">Remote access, or some of it, is not supported; the message names it.</exception>
    IRmaRegistration Register(nint address, long length, RmaAccess access);

    /// <summary>
    /// Like <see cref="Register"/>, but for memory that the process may only read: the transport must not request write
    /// access. The pool does not let any operation write to it.
    /// </summary>
    /// <param name="address">As for <see cref="Register"/>.</param>
    /// <param name="length">As for <see cref="Register"/>.</param>
    /// <param name="access">As for <see cref="Register"/>, but never <see cref="RmaAccess.RemoteWrite"/>.</param>
    /// <inheritdoc cref="Register" path="/exception"/>
    IRmaRegistration RegisterReadOnly(nint address, long length, RmaAccess access) => Register(address, length, access);

    /// <summary>Undoes a registration. After an exception the memory must stay mapped, because the transport may still access it.</summary>
    /// <param name="registration">A registration of this context, which may be undone only once.</param>
    /// <exception cref="RmaRegistrationException">The transport refused.</exception>
    void Deregister(IRmaRegistration registration);

    /// <summary>Opens an endpoint, or returns the context's only endpoint if registrations are bound to it.</summary>
    /// <exception cref="RmaProviderException">It can't be opened.</exception>
    /// <exception cref="InvalidOperationException">Registrations are bound to the context's only endpoint, and it was already opened.</exception>
    IRmaEndpoint OpenEndpoint();

    /// <summary>Takes another reference, which keeps the context open after its opener has disposed it.</summary>
    /// <returns>The reference: disposing it releases it, once.</returns>
    /// <exception cref="ObjectDisposedException">The last reference was released.</exception>
    IDisposable Retain();
}
