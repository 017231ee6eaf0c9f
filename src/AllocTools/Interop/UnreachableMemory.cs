namespace AllocTools.Interop;

/// <summary>Addresses that the process has and can't reach: no memory is behind them, and a system call that is given them fails with EFAULT.</summary>
internal static class UnreachableMemory
{
    /// <summary>As many bytes as the longest span.</summary>
    private const int Length = int.MaxValue;

    private static readonly Lazy<nint> Reserved = new(() => SystemPages.Reserve(Length, out nint address) == 0 ? address : 0);

    /// <summary>The first of 2^31 - 1 bytes, taken once for the process at the first call; 0 where the system refuses.</summary>
    public static nint Address => Reserved.Value;
}
