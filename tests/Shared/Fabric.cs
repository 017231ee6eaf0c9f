using AllocTools.Libfabric;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Testing;

/// <summary>The fabrics that the tests run on. Each has its own addressing and its own ways to fail.</summary>
/// <remarks>
/// By default these are the fabrics that one machine without hardware has. The environment variable ALLOCTOOLS_FABRICS names
/// others, separated by commas: by the names below or as PROVIDER@NODE, such as <c>verbs;ofi_rxm@192.168.77.1</c>.
/// </remarks>
public static class Fabric
{
    private const string Variable = "ALLOCTOOLS_FABRICS";

    public const string Tcp = "tcp;ofi_rxm";
    public const string Sockets = "sockets";
    public const string SharedMemoryByAddress = "shm (virtual addresses)";
    public const string SharedMemoryByOffset = "shm (offsets)";

    /// <summary>
    /// The first of net and tcp that offers reliable datagrams without a layered provider: net in 1.x, tcp in 2.x.
    /// </summary>
    public const string PlainTcp = "net or tcp";

    private static readonly Lazy<string> PlainTcpProvider = new(FindPlainTcp);

    /// <summary>Gets the fabrics that the environment names; null if it names none.</summary>
    public static string[]? Named { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } list
        ? list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        : null;

    public static string[] All { get; } = Named ?? [Tcp, Sockets, SharedMemoryByAddress, SharedMemoryByOffset, PlainTcp];

    /// <summary>Gets a fabric for tests that need one, no matter which.</summary>
    public static string Any => All[0];

    /// <summary>Whether the fabric is verbs, on any node.</summary>
    public static bool IsVerbs(string fabric) => fabric.StartsWith("verbs", StringComparison.Ordinal);

    public static LibfabricOptions Options(string fabric)
    {
        if (fabric.Split('@') is [string provider, string node])
            return new LibfabricOptions { Provider = provider, Node = node };
        bool isShared = fabric is SharedMemoryByAddress or SharedMemoryByOffset;
        return new LibfabricOptions
        {
            Provider = isShared ? "shm" : fabric == PlainTcp ? PlainTcpProvider.Value : fabric,
            Node = isShared ? null : "127.0.0.1",
            VirtualAddressing = fabric != SharedMemoryByOffset,
        };
    }

    public static IRmaContext Open(string fabric, Action<LibfabricOptions>? configure = null, ILoggerFactory? loggerFactory = null)
    {
        LibfabricOptions options = Options(fabric);
        configure?.Invoke(options);
        return new LibfabricProvider(options, loggerFactory).Open();
    }

    private static string FindPlainTcp()
    {
        foreach (string provider in new[] { "net", "tcp" })
        {
            try
            {
                using IRmaContext context = new LibfabricProvider(new LibfabricOptions { Provider = provider, Node = "127.0.0.1" }).Open();
                if (context.Traits.ProviderName == provider)
                    return provider;
            }
            catch (RmaProviderException)
            {
                // This libfabric doesn't have it, or only as a layer under another provider.
            }
        }
        throw new InvalidOperationException("This libfabric has neither net nor tcp with reliable datagrams.");
    }
}
