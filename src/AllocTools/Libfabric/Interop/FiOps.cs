using System.Runtime.CompilerServices;

namespace AllocTools.Libfabric.Interop;

/// <summary>The check that libfabric's headers call FI_CHECK_OP. fabric(7).</summary>
internal static unsafe class FiOps
{
    /// <summary>True where a table that is not null is long enough to hold the member, and the member is set.</summary>
    /// <param name="ops">The table; its first member is its size in bytes.</param>
    /// <param name="member">The address of the member in the table.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Has(void* ops, void* member)
        => *(nuint*)ops > (nuint)((byte*)member - (byte*)ops) && *(void**)member != null;
}
