using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Tests.Model;

/// <summary>Host memory that knows what is registered, and refuses on command.</summary>
internal sealed class ScriptedContext : RmaContext
{
    private readonly IRmaContext _inner = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
    private readonly Lock _gate = new();
    private readonly Dictionary<IRmaRegistration, long> _live = [];
    private readonly List<string> _violations = [];

    /// <summary>Gets or sets how many of the next registrations are refused.</summary>
    public int FailNext { get; set; }

    public int Made { get; private set; }

    public int Refused { get; private set; }

    public int Undone { get; private set; }

    /// <summary>The length of the registration that was refused last.</summary>
    public long LastRefused { get; private set; }

    public bool WasClosed { get; private set; }

    /// <summary>
    /// Gets or sets a function that is called before a registration is undone, and returns what is wrong with that.
    /// </summary>
    public Func<IRmaRegistration, string?> Objection { get; set; } = _ => null;

    public override RmaProviderTraits Traits => _inner.Traits;

    /// <summary>Gets the current registrations with their lengths.</summary>
    public IReadOnlyDictionary<IRmaRegistration, long> Live
    {
        get
        {
            lock (_gate)
                return new Dictionary<IRmaRegistration, long>(_live);
        }
    }

    public IReadOnlyList<string> Violations
    {
        get
        {
            lock (_gate)
                return [.. _violations];
        }
    }

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        lock (_gate)
        {
            if (FailNext > 0)
            {
                FailNext--;
                Refused++;
                LastRefused = length;
                throw CountingContext.Refusal(length);
            }
            IRmaRegistration registration = _inner.Register(address, length, access);
            _live.Add(registration, length);
            Made++;
            return registration;
        }
    }

    public override void Deregister(IRmaRegistration registration)
    {
        string? objection = Objection(registration);
        lock (_gate)
        {
            // Reported by the checks after the step: the pool would take an exception for a refusal.
            if (objection is not null)
                _violations.Add(objection);
            if (!_live.Remove(registration))
                _violations.Add("a registration was undone twice");
            Undone++;
        }
        _inner.Deregister(registration);
    }

    public override IRmaEndpoint OpenEndpoint() => _inner.OpenEndpoint();

    protected override void Close()
    {
        WasClosed = true;
        _inner.Dispose();
    }
}
