using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Stress.Tests;

/// <summary>Host memory that counts its registrations, and waits or fails before one on command.</summary>
internal sealed class ObservedContext(Action<int>? beforeRegister) : RmaContext
{
    private readonly IRmaContext _inner = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
    private int _registrations;
    private int _live;

    public int Registrations => Volatile.Read(ref _registrations);

    public int Live => Volatile.Read(ref _live);

    public override RmaProviderTraits Traits => _inner.Traits;

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        beforeRegister?.Invoke(Interlocked.Increment(ref _registrations));
        IRmaRegistration registration = _inner.Register(address, length, access);
        Interlocked.Increment(ref _live);
        return registration;
    }

    public override void Deregister(IRmaRegistration registration)
    {
        _inner.Deregister(registration);
        Interlocked.Decrement(ref _live);
    }

    public override IRmaEndpoint OpenEndpoint() => _inner.OpenEndpoint();

    protected override void Close() => _inner.Dispose();
}
