using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Tests;

/// <summary>A real context that counts registrations, and refuses or delays them on command.</summary>
internal sealed class CountingContext : RmaContext
{
    private readonly IRmaContext _inner = PoolProvider.Open();
    private int _registrations;
    private int _readOnlyRegistrations;
    private int _live;
    private int _closed;

    /// <summary>Called before each registration, with its number from 1 and its length.</summary>
    public Action<int, long>? BeforeRegister { get; set; }

    /// <summary>Called before each registration is undone.</summary>
    public Action? BeforeDeregister { get; set; }

    public bool FailDeregister { get; set; }

    public int Registrations => Volatile.Read(ref _registrations);

    /// <summary>Gets the number of registrations of memory that is only read.</summary>
    public int ReadOnlyRegistrations => Volatile.Read(ref _readOnlyRegistrations);

    public int Live => Volatile.Read(ref _live);

    public bool WasClosed => Volatile.Read(ref _closed) != 0;

    public override RmaProviderTraits Traits => _inner.Traits;

    public static RmaRegistrationException Refusal(long length) =>
        new("fi_mr_reg of so many bytes failed with FI_ENOMEM.", "fi_mr_reg", length, "test", 12, "FI_ENOMEM");

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        int number = Interlocked.Increment(ref _registrations);
        BeforeRegister?.Invoke(number, length);
        IRmaRegistration registration = _inner.Register(address, length, access);
        Interlocked.Increment(ref _live);
        return registration;
    }

    public override IRmaRegistration RegisterReadOnly(nint address, long length, RmaAccess access)
    {
        Interlocked.Increment(ref _readOnlyRegistrations);
        return base.RegisterReadOnly(address, length, access);
    }

    public override void Deregister(IRmaRegistration registration)
    {
        BeforeDeregister?.Invoke();
        if (FailDeregister)
            throw new RmaRegistrationException("fi_close failed with FI_EBUSY.", "fi_close", 0, "test", 16, "FI_EBUSY");
        _inner.Deregister(registration);
        Interlocked.Decrement(ref _live);
    }

    public override IRmaEndpoint OpenEndpoint() => _inner.OpenEndpoint();

    protected override void Close()
    {
        Interlocked.Increment(ref _closed);
        _inner.Dispose();
    }
}
