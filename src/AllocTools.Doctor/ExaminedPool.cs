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

/// <summary>The provider of a pool's memory, which is the class that <c>AddRmaMemoryPool</c> names.</summary>
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

/// <summary>A pool's section, bound and validated as a host does it at startup, without opening anything.</summary>
internal sealed class ExaminedPool : IDisposable
{
    /// <summary>The providers of libfabric that need no device and lock no memory.</summary>
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
        // Connections have a section of their own below the pool's, and extend its Access.
        if (section.GetSection("Connections").Exists())
            services.AddRmaConnections();
        _services = services.BuildServiceProvider();
        Failures = Validate();
        if (Failures.Count == 0)
            Pool = _services.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>().Get(Options.DefaultName);

        void Add<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TProvider>()
            where TProvider : class, IRmaProvider => services.AddRmaMemoryPool<TProvider>(section).RequireSection();
    }

    /// <summary>The location of the settings, for people: <c>section 'AllocTools' of appsettings.json</c>.</summary>
    public string Place { get; }

    /// <summary>The provider of the pool's memory.</summary>
    public ProviderKind Kind { get; }

    /// <summary>All failures of the validation, each with its path.</summary>
    public IReadOnlyList<string> Failures { get; }

    /// <summary>The pool's options; null if there are failures.</summary>
    public RmaMemoryPoolOptions? Pool { get; }

    /// <summary>The option of <see cref="MpiOptions"/>; by default any implementation.</summary>
    public MpiImplementation MpiImplementation =>
        Enum.TryParse(_section["Provider:Implementation"], ignoreCase: true, out MpiImplementation implementation) ? implementation : MpiImplementation.Any;

    /// <summary>The name of libfabric's provider; null if any may be used, or if it is another library.</summary>
    public string? Fabric => Kind == ProviderKind.Libfabric && _section["Provider:Provider"] is { Length: > 0 } name ? name : null;

    /// <summary>Whether memory that can't be locked is refused, whatever devices there are.</summary>
    public bool LocksByItself => Kind == ProviderKind.Host && string.Equals(_section["Provider:Locking"], nameof(PageLocking.Required), StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether the provider may use an RDMA device, which locks memory.</summary>
    public bool MayUseDevices => Kind switch
    {
        ProviderKind.Libfabric => Fabric is null || !s_withoutDevices.Contains(Fabric),
        ProviderKind.Ucx or ProviderKind.Mpi => true,
        _ => false,
    };

    /// <summary>The address at which the transport listens by TCP; null if the settings have none, or if it listens by other means.</summary>
    public string? Node => this is { Kind: ProviderKind.Libfabric, Fabric: null or "tcp" or "tcp;ofi_rxm" or "net" or "sockets" } ? _section["Provider:Node"] : null;

    /// <summary>The port at which it listens; null for any.</summary>
    public string? Service => _section["Provider:Service"];

    /// <summary>Reads a section.</summary>
    /// <param name="section">The section.</param>
    /// <param name="place">The location of the section, for people.</param>
    /// <param name="kind">The class of the provider, which no section names.</param>
    public static ExaminedPool Read(IConfigurationSection section, string place, ProviderKind kind) => new(section, place, kind);

    /// <summary>Returns the library's file, if the settings name one for this kind of provider.</summary>
    public string? LibraryPathOf(ProviderKind kind) => kind == Kind && _section["Provider:LibraryPath"] is { Length: > 0 } path ? path : null;

    /// <summary>Returns the approximate number of slabs of a pool that has grown to a size.</summary>
    public long SlabsAt(long bytes)
    {
        long slab = Math.Max(Pool?.MaxSlabBytes ?? 0, Environment.SystemPageSize);
        return (bytes + slab - 1) / slab;
    }

    /// <summary>Opens the provider as a host does.</summary>
    /// <exception cref="RmaProviderException">The provider can't be opened.</exception>
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
