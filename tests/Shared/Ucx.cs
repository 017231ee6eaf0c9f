using AllocTools.Regions;
using AllocTools.Ucx;
using Microsoft.Extensions.Logging;

namespace AllocTools.Testing;

/// <summary>The ways in which the tests open UCX, on this machine only.</summary>
/// <remarks>
/// By default these are the ways that one machine without hardware has. The environment variable ALLOCTOOLS_UCX names
/// others, separated by commas, as TRANSPORTS@DEVICES, such as <c>rc_verbs+ud_verbs@rxe0:1</c>.
/// </remarks>
public static class UcxFabric
{
    private const string Variable = "ALLOCTOOLS_UCX";

    public const string Tcp = "tcp";
    public const string TcpWithoutErrorHandling = "tcp without error handling";
    public const string SharedMemory = "shared memory";

    /// <summary>Whatever UCX finds, with error handling.</summary>
    public const string Everything = "all";

    /// <summary>Gets those of one machine without hardware, which lock no memory and don't check peers' rights.</summary>
    public static string[] WithoutDevices { get; } = [Tcp, TcpWithoutErrorHandling, SharedMemory, Everything];

    public static string[] All { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } list
        ? list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        : WithoutDevices;

    /// <summary>Gets one for tests that need one, no matter which.</summary>
    public static string Any => All[0];

    /// <summary>Whether peers that are gone are reported.</summary>
    public static bool HasErrorHandling(string fabric) => Options(fabric).ErrorHandling == UcxErrorHandling.Peer;

    public static UcxOptions Options(string fabric)
    {
        if (fabric.Split('@') is [string transports, string devices])
            return new UcxOptions { Transports = transports.Replace('+', ','), Devices = devices };
        return new UcxOptions
        {
            Transports = fabric switch { SharedMemory => "shm,self", Everything => null, _ => "tcp" },
            Devices = fabric == SharedMemory ? null : "lo",
            ErrorHandling = fabric is Tcp or Everything ? UcxErrorHandling.Peer : UcxErrorHandling.None,
        };
    }

    public static IRmaContext Open(string fabric, Action<UcxOptions>? configure = null, ILoggerFactory? loggerFactory = null, TimeProvider? timeProvider = null)
    {
        UcxOptions options = Options(fabric);
        configure?.Invoke(options);
        return new UcxProvider(options, loggerFactory, timeProvider).Open();
    }
}
