using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>
/// Determines the transports that a context has opened, each with its device, such as <c>tcp/lo</c>, from UCX's
/// printed description.
/// </summary>
/// <remarks>
/// No call of UCX returns them: ucp_ep_query of 1.14 and later returns those of one connection, but only after it is
/// established.
/// </remarks>
internal static unsafe class UcxTransports
{
    /// <summary>Returns the transports of a context; empty if UCX prints them in a different form.</summary>
    public static IReadOnlyList<string> Of(UcxLibrary library, void* context) => Parse(library.PrintInfo(context));

    /// <summary>Finds transports in lines such as <c>#      resource 0  :  md 0  dev 0  flags -- tcp/lo</c>.</summary>
    public static IReadOnlyList<string> Parse(string printed) =>
    [
        .. printed.Split('\n')
            .Select(static line => line.Trim('#', ' ').Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(static words => words is ["resource", _, ":", .., var last] && last.Contains('/', StringComparison.Ordinal))
            .Select(static words => words[^1]),
    ];

    /// <summary>Returns the shared-memory transports that a list as in UCX_TLS names: <c>SYSV</c>, <c>POSIX</c>.</summary>
    public static IEnumerable<string> SharedMemoryIn(string? list)
    {
        string[] names = [.. (list ?? "").Split(',').Select(static n => n.Trim().TrimStart('\\'))];
        bool isAny = names.Any(static n => n is "shm" or "sm" or "mm");
        return SharedMemory.Where(t => isAny || names.Contains(t, StringComparer.OrdinalIgnoreCase));
    }

    /// <summary>
    /// Whether a peer may copy a long message itself, from or to the memory of this process, even after this process
    /// has closed its last endpoint. It does so through the kernel (cma, knem), or through its own mapping (xpmem).
    /// </summary>
    /// <param name="transports">The transports of the context.</param>
    /// <param name="errorHandling">The context's error handling. With it, UCX excludes these transports unless a
    /// setting declares them suitable.</param>
    /// <param name="variable">Reads the environment.</param>
    public static bool LetPeersCopy(IReadOnlyList<string> transports, UcxErrorHandling errorHandling, Func<string, string?> variable)
    {
        if (transports.Count > 0 && !transports.Any(static t => Copying.Any(c => t.StartsWith(c + "/", StringComparison.OrdinalIgnoreCase))))
            return false;
        return errorHandling == UcxErrorHandling.None
            || Copying.Append("MM").Any(c => IsOn(variable($"UCX_{c}_MEMORY_INVALIDATE")) || IsOn(variable($"UCX_{c}_ERROR_HANDLING")));

        static bool IsOn(string? value) => value is not (null or "" or "n" or "N" or "no" or "off" or "0");
    }

    /// <summary>The shared-memory transports that may detect lost peers.</summary>
    public static IReadOnlyList<string> SharedMemory { get; } = ["SYSV", "POSIX"];

    private static readonly string[] Copying = ["CMA", "KNEM", "XPMEM"];

    /// <summary>Whether registered memory is locked for the transports, as for RDMA devices.</summary>
    public static bool LockPages(IEnumerable<string> transports) =>
        transports.Any(static t => t.StartsWith("rc_", StringComparison.Ordinal) || t.StartsWith("dc_", StringComparison.Ordinal) || t.StartsWith("ud_", StringComparison.Ordinal));
}
