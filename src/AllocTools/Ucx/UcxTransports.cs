using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>
/// The transports that a context has opened, each with its device, such as <c>tcp/lo</c>, from UCX's printed
/// description.
/// </summary>
/// <remarks>
/// No call of UCX returns them: from 1.14 on, ucp_ep_query returns those of one connection, but only after it is
/// established.
/// </remarks>
internal static unsafe class UcxTransports
{
    /// <summary>The transports of a context; empty if UCX prints them in a different form.</summary>
    public static IReadOnlyList<string> Of(UcxLibrary library, void* context) => Parse(library.PrintInfo(context));

    /// <summary>Finds them in lines such as <c>#      resource 0  :  md 0  dev 0  flags -- tcp/lo</c>.</summary>
    public static IReadOnlyList<string> Parse(string printed) =>
    [
        .. printed.Split('\n')
            .Select(static line => line.Trim('#', ' ').Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(static words => words is ["resource", _, ":", .., var last] && last.Contains('/', StringComparison.Ordinal))
            .Select(static words => words[^1]),
    ];

    /// <summary>The shared-memory transports that a list as in UCX_TLS names: <c>SYSV</c>, <c>POSIX</c>.</summary>
    public static IEnumerable<string> SharedMemoryIn(string? list)
    {
        string[] names = [.. (list ?? "").Split(',').Select(static n => n.Trim().TrimStart('\\'))];
        bool isAny = names.Any(static n => n is "shm" or "sm" or "mm");
        return SharedMemory.Where(t => isAny || names.Contains(t, StringComparer.OrdinalIgnoreCase));
    }

    /// <summary>
    /// Whether a peer may copy a long message itself, from or to the memory of this process, even if this process has
    /// no open endpoint any more: through the kernel (cma, knem), or its own mapping (xpmem).
    /// </summary>
    /// <param name="transports">Those of the context.</param>
    /// <param name="errorHandling">Its error handling. With it UCX leaves these transports out, unless a setting declares them fit.</param>
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

    /// <summary>Whether registered memory is locked for them, as for RDMA devices.</summary>
    public static bool LockPages(IEnumerable<string> transports) =>
        transports.Any(static t => t.StartsWith("rc_", StringComparison.Ordinal) || t.StartsWith("dc_", StringComparison.Ordinal) || t.StartsWith("ud_", StringComparison.Ordinal));
}
