using AllocTools.Libfabric;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Testing;

/// <summary>The fabrics that the tests run on. Each has its own addressing and its own ways to fail.</summary>
/// <remarks>
/// They are those that one machine without hardware has, unless the environment names others: in ALLOCTOOLS_FABRICS,
/// with commas between them, by the names below or as PROVIDER@NODE, such as <c>verbs;ofi_rxm@192.168.77.1</c>.
/// </remarks>
public static class Fabric
{
    private const string Variable = "ALLOCTOOLS_FABRICS";

    public const string Tcp = "tcp;ofi_rxm";
    public const string Sockets = "sockets";
    public const string SharedMemoryByAddress = "shm (virtual addresses)";
    public const string SharedMemoryByOffset = "shm (offsets)";

    /// <summary>The first of net and tcp that offers reliable datagrams by itself: net in 1.x, tcp in 2.x.</summary>
    public const string PlainTcp = "net or tcp";

    private static readonly Lazy<string> PlainTcpProvider = new(FindPlainTcp);

    /// <summary>Those that the environment names; null where it names none.</summary>
    public static string[]? Named { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } list
        ? list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        : null;

    public static string[] All { get; } = Named ?? [Tcp, Sockets, SharedMemoryByAddress, SharedMemoryByOffset, PlainTcp];

    /// <summary>For tests that need one, whichever.</summary>
    public static string Any => All[0];

    /// <summary>Whether it is verbs, of whichever node.</summary>
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
                // This libfabric has it not, or only as a layer under another one.
            }
        }
        throw new InvalidOperationException("This libfabric has neither net nor tcp with reliable datagrams.");
    }
}
