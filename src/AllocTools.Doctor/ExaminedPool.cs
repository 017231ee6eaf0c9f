using System.Diagnostics.CodeAnalysis;
using AllocTools.Connections;
using AllocTools.Connections.Hosting;
using AllocTools.Hosting;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Regions;
using AllocTools.Ucx;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Doctor;

/// <summary>What a pool's memory is registered with: the class that <c>AddRmaMemoryPool</c> names.</summary>
public enum ProviderKind
{
    /// <summary><see cref="LibfabricProvider"/>.</summary>
    Libfabric = 0,

    /// <summary><see cref="UcxProvider"/>.</summary>
    Ucx = 1,

    /// <summary><see cref="MpiProvider"/>.</summary>
    Mpi = 2,

    /// <summary><see cref="HostProvider"/>.</summary>
    Host = 3,
}

/// <summary>A pool's section, bound and validated as a host does it at its start, without opening anything.</summary>
internal sealed class ExaminedPool : IDisposable
{
    /// <summary>libfabric's providers that need no device, and lock nothing.</summary>
    private static readonly string[] s_withoutDevices = ["tcp", "tcp;ofi_rxm", "net", "net;ofi_rxm", "sockets", "shm", "udp", "udp;ofi_rxd"];

    private readonly ServiceProvider _services;
    private readonly IConfigurationSection _section;

    private ExaminedPool(IConfigurationSection section, string place, ProviderKind kind)
    {
        _section = section;
        Place = place;
        Kind = kind;
        var services = new ServiceCollection();
        switch (kind)
        {
            case ProviderKind.Libfabric:
                Add<LibfabricProvider>();
                break;
            case ProviderKind.Ucx:
                Add<UcxProvider>();
                break;
            case ProviderKind.Mpi:
                Add<MpiProvider>();
                break;
            default:
                Add<HostProvider>();
                break;
        }
        // They have a section of their own below the pool's, and add to its Access.
        if (section.GetSection("Connections").Exists())
            services.AddRmaConnections();
        _services = services.BuildServiceProvider();
        Failures = Validate();
        if (Failures.Count == 0)
            Pool = _services.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>().Get(Options.DefaultName);

        void Add<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TProvider>()
            where TProvider : class, IRmaProvider => services.AddRmaMemoryPool<TProvider>(section).RequireSection();
    }

    /// <summary>Where they stand, for people: <c>section 'AllocTools' of appsettings.json</c>.</summary>
    public string Place { get; }

    /// <summary>What the pool's memory is registered with.</summary>
    public ProviderKind Kind { get; }

    /// <summary>All that is wrong, each with its path.</summary>
    public IReadOnlyList<string> Failures { get; }

    /// <summary>The pool's options; null where anything is wrong.</summary>
    public RmaMemoryPoolOptions? Pool { get; }

    /// <summary>Of <see cref="MpiOptions"/>; by default whichever is there.</summary>
    public MpiImplementation MpiImplementation =>
        Enum.TryParse(_section["Provider:Implementation"], ignoreCase: true, out MpiImplementation implementation) ? implementation : MpiImplementation.Any;

    /// <summary>libfabric's provider by name; null where any may be taken, or it is another library.</summary>
    public string? Fabric => Kind == ProviderKind.Libfabric && _section["Provider:Provider"] is { Length: > 0 } name ? name : null;

    /// <summary>Memory that can't be locked is refused, whatever devices there are.</summary>
    public bool LocksByItself => Kind == ProviderKind.Host && string.Equals(_section["Provider:Locking"], nameof(PageLocking.Required), StringComparison.OrdinalIgnoreCase);

    /// <summary>What is named may use an RDMA device, which locks memory.</summary>
    public bool MayUseDevices => Kind switch
    {
        ProviderKind.Libfabric => Fabric is null || !s_withoutDevices.Contains(Fabric),
        ProviderKind.Ucx or ProviderKind.Mpi => true,
        _ => false,
    };

    /// <summary>Where the transport listens by TCP; null where nothing says it, or where it listens by other means.</summary>
    public string? Node => this is { Kind: ProviderKind.Libfabric, Fabric: null or "tcp" or "tcp;ofi_rxm" or "net" or "sockets" } ? _section["Provider:Node"] : null;

    /// <summary>The port that it listens at; null: any.</summary>
    public string? Service => _section["Provider:Service"];

    /// <summary>Reads a section.</summary>
    /// <param name="section">The section.</param>
    /// <param name="place">Where it stands, for people.</param>
    /// <param name="kind">The class of the provider, which no section names.</param>
    public static ExaminedPool Read(IConfigurationSection section, string place, ProviderKind kind) => new(section, place, kind);

    /// <summary>The library's file, where the settings name one for this kind of provider.</summary>
    public string? LibraryPathOf(ProviderKind kind) => kind == Kind && _section["Provider:LibraryPath"] is { Length: > 0 } path ? path : null;

    /// <summary>About how many slabs the pool has when it has grown so far.</summary>
    public long SlabsAt(long bytes)
    {
        long slab = Math.Max(Pool?.MaxSlabBytes ?? 0, Environment.SystemPageSize);
        return (bytes + slab - 1) / slab;
    }

    /// <summary>Opens the provider as a host does.</summary>
    /// <exception cref="RmaProviderException">It can't be opened.</exception>
    public IRmaContext OpenProvider()
    {
        PoolRegistration registration = _services.GetRequiredService<PoolRegistration>();
        IRmaProvider provider = registration.Descriptor!.Create(_services, registration.Key.Name);
        return provider.Open();
    }

    public void Dispose() => _services.Dispose();

    private string[] Validate()
    {
        try
        {
            PoolOptions.ThrowIfAnyIsInvalid(_services);
            return [];
        }
        catch (OptionsValidationException e)
        {
            return [.. e.Failures];
        }
    }
}
