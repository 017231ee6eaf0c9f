namespace AllocTools.Interop;

/// <summary>Addresses that the process owns but can't access: they have no memory, and a system call that receives them fails with EFAULT.</summary>
internal static class UnreachableMemory
{
    /// <summary>The length of the longest span in bytes.</summary>
    private const int Length = int.MaxValue;

    private static readonly Lazy<nint> Reserved = new(() => SystemPages.Reserve(Length, out nint address) == 0 ? address : 0);

    /// <summary>The first of 2^31 - 1 bytes, reserved once per process when this is first read; 0 if the system refuses.</summary>
    public static nint Address => Reserved.Value;
}
