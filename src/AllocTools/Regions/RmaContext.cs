using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Engine;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.Regions;

/// <summary>A base class for contexts that counts references and closes once, with the last reference.</summary>
/// <param name="logger">The log for reports of endpoints; may be null.</param>
/// <param name="time">The clock of endpoints; null for the system's.</param>
public abstract class RmaContext(ILogger? logger = null, TimeProvider? time = null) : IRmaContext
{
    private EndpointHealth? _health;
    private TransportDescription? _description;
    private int _references = 1;
    private int _openerReleased;

    /// <inheritdoc/>
    public abstract RmaProviderTraits Traits { get; }

    /// <inheritdoc/>
    public virtual RmaException? Failure => Health.Failure;

    /// <inheritdoc/>
    public virtual IReadOnlyCollection<string> Hindrances => Health.Hindrances;

    /// <inheritdoc/>
    public abstract IRmaRegistration Register(nint address, long length, RmaAccess access);

    /// <inheritdoc/>
    public virtual IRmaRegistration RegisterReadOnly(nint address, long length, RmaAccess access) => Register(address, length, access);

    /// <inheritdoc/>
    public abstract void Deregister(IRmaRegistration registration);

    /// <inheritdoc/>
    public abstract IRmaEndpoint OpenEndpoint();

    /// <inheritdoc/>
    public IDisposable Retain()
    {
        int seen = Volatile.Read(ref _references);
        while (seen > 0)
        {
            int before = Interlocked.CompareExchange(ref _references, seen + 1, seen);
            if (before == seen)
                return new RmaContextLease(Release);
            seen = before;
        }
        throw Closed();
    }

    /// <summary>Releases the opener's reference, once. The last reference closes.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _openerReleased, 1) == 0)
            Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>The state that the endpoints report, and their monitoring.</summary>
    internal EndpointHealth Health => Volatile.Read(ref _health)
        ?? Interlocked.CompareExchange(ref _health, new EndpointHealth(Traits.ProviderName, logger ?? NullLogger.Instance, time ?? TimeProvider.System), null)
        ?? _health;

    /// <summary>The description of the transport in exposed memory and in addresses; addresses contain more.</summary>
    internal TransportDescription Description => Volatile.Read(ref _description)
        ?? Interlocked.CompareExchange(ref _description, Describe(), null)
        ?? _description;

    internal virtual TransportDescription Describe() => new()
    {
        Provider = Traits.ProviderName,
        Words = TransportDescription.OwnWords,
        Keys = (Traits.Addressing, Traits.RawKeys, (ushort)Traits.KeySize),
        Context = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))),
    };

    /// <exception cref="ObjectDisposedException">The last reference was released.</exception>
    internal void ThrowIfClosed()
    {
        if (IsClosed)
            throw Closed();
    }

    /// <summary>True once the last reference was released.</summary>
    protected bool IsClosed => Volatile.Read(ref _references) <= 0;

    /// <summary>
    /// Closes the transport. By then its registrations are undone and its endpoints closed. It is called once, and must
    /// not throw.
    /// </summary>
    protected virtual void Close()
    {
    }

    private ObjectDisposedException Closed() => new(
        GetType().Name, $"The context of provider '{Traits.ProviderName}' is closed: it was disposed, as were all pools and endpoints on it. Open another one (IRmaProvider.Open).");

    private void Release()
    {
        if (Interlocked.Decrement(ref _references) == 0)
            Close();
    }
}

/// <summary>One reference to a context, released once, however often it is disposed.</summary>
internal sealed class RmaContextLease(Action release) : IDisposable
{
    private Action? _release = release;

    public void Dispose() => Interlocked.Exchange(ref _release, null)?.Invoke();
}
