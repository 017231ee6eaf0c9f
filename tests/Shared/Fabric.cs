using AllocTools.Libfabric;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Testing;

/// <summary>The fabrics that run on one machine without hardware. Each has its own addressing and its own ways to fail.</summary>
public static class Fabric
{
    public const string Tcp = "tcp;ofi_rxm";
    public const string Sockets = "sockets";
    public const string SharedMemoryByAddress = "shm (virtual addresses)";
    public const string SharedMemoryByOffset = "shm (offsets)";

    /// <summary>The first of net and tcp that offers reliable datagrams by itself: net in 1.x, tcp in 2.x.</summary>
    public const string PlainTcp = "net or tcp";

    public static readonly string[] All = [Tcp, Sockets, SharedMemoryByAddress, SharedMemoryByOffset, PlainTcp];

    private static readonly Lazy<string> PlainTcpProvider = new(FindPlainTcp);

    public static LibfabricOptions Options(string fabric)
    {
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
