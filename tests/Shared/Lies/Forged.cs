using System.Reflection;
using AllocTools.Endpoints;

namespace AllocTools.Testing.Lies;

/// <summary>
/// Descriptions of memory that the library itself would not make: with any address, length and key, with all access,
/// and without a transport, so that <see cref="IRmaEndpoint.Import"/> compares nothing.
/// </summary>
internal static class Forged
{
    private static readonly FieldInfo LengthField = typeof(RemoteMemory).GetField("<Length>k__BackingField", BindingFlags.Instance | BindingFlags.NonPublic)!;

    /// <param name="told">The description that the liar was given. A raw key is taken from it.</param>
    /// <param name="address">Any address.</param>
    /// <param name="length">Any length, even one that reaches beyond the last address.</param>
    /// <param name="key">Any key; has no effect where keys are raw.</param>
    public static RemoteMemory Of(in RemoteMemory told, ulong address, long length, ulong key)
    {
        const RmaAccess Both = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;
        object forged = told.IsRaw ? new RemoteMemory(address, 0, told.RawKey, told.RawBase, Both) : new RemoteMemory(address, 0, key, Both);
        LengthField.SetValue(forged, length);
        return (RemoteMemory)forged;
    }
}
