using AllocTools.Endpoints;
using AllocTools.Mpi.Interop;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Mpi;

/// <summary>Attaches memory to the process's window, and opens endpoints.</summary>
internal sealed class MpiContext : RmaContext
{
    /// <summary>The longest read, write or message in one call, because MPI counts in signed 32-bit integers.</summary>
    public const long LongestPart = 1L << 30;

    private readonly MpiJob _job;
    private readonly MpiOptions _options;

    public MpiContext(MpiJob job, MpiOptions options, ILogger logger)
        : base(logger)
    {
        _job = job;
        _options = options;
        Traits = new RmaProviderTraits
        {
            ProviderName = NameOf(job.Library.Implementation),
            Addressing = RmaAddressing.VirtualAddress,
            ProviderSelectsKey = true,
            RemoteAccess = true,
            // A window has no keys. Open MPI refuses memory that is not attached; MPICH does not check.
            RemoteAccessEnforced = false,
            DeliveryComplete = true,
            SendersAreKnown = true,
            NotificationSize = sizeof(ulong),
            OptimalRegistrations = job.Memory.Limit,
            MaxMessageSize = LongestPart,
            LibraryVersion = job.Library.Version,
        };
    }

    public override RmaProviderTraits Traits { get; }

    /// <summary>Returns the value of the tag <c>rma.provider</c>.</summary>
    public static string NameOf(MpiImplementation implementation) => implementation == MpiImplementation.OpenMpi ? "openmpi" : "mpich";

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        ArgumentOutOfRangeException.ThrowIfZero(address);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ThrowIfClosed();
        return new MpiRegistration(this, _job.Memory.Attach(address, length), address, length);
    }

    public override void Deregister(IRmaRegistration registration)
    {
        if (registration is not MpiRegistration own || own.Context != this || !own.TryEnd())
            throw new ArgumentException("The registration was not made by this context, or was already undone.", nameof(registration));
        _job.Memory.Detach(own.Range);
    }

    public override IRmaEndpoint OpenEndpoint()
    {
        ThrowIfClosed();
        var driver = new MpiDriver(_job, Traits, _options.Endpoint.MaxOutstanding);
        try
        {
            return new MpiEndpoint(this, _job, driver, _options.Endpoint);
        }
        catch
        {
            driver.Close(isRecalled: true);
            throw;
        }
    }

    protected override void Close() => _job.Close();

    /// <summary>Memory that is attached.</summary>
    private sealed class MpiRegistration(MpiContext context, AttachedMemory.Range range, nint address, long length) : IRmaRegistration
    {
        private int _hasEnded;

        public MpiContext Context => context;

        public AttachedMemory.Range Range => range;

        /// <returns>False if the registration has already ended.</returns>
        public bool TryEnd() => Interlocked.Exchange(ref _hasEnded, 1) == 0;

        // There are no keys; the address identifies the memory.
        public RemoteMemory Describe(long offset, long partLength, RmaAccess access)
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _hasEnded) != 0, this);
            RangeCheck.ThrowIfOutside(offset, partLength, length);
            return new RemoteMemory((ulong)(range.RemoteAddress + (address - range.Address)) + (ulong)offset, partLength, key: 0, access).Of(context.Description);
        }
    }
}
