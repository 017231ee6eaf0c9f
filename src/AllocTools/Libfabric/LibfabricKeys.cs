using System.Runtime.InteropServices;
using System.Security.Cryptography;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Picks the keys where the application does (without FI_MR_PROV_KEY).</summary>
/// <remarks>
/// Keys of 8 bytes are random, so that a peer can't guess another's. Narrow ones come from a counter that goes round
/// before it takes a number again and skips what is in use; it starts at 100 where there is room, because the first
/// hundred are special on cxi.
/// </remarks>
internal sealed class LibfabricKeys
{
    private const ulong FirstNarrow = 100;

    private readonly Lock _gate = new();
    private readonly HashSet<ulong> _inUse = [];
    private readonly ulong _last;
    private readonly bool _isWide;
    private ulong _next;

    public LibfabricKeys(int keySize)
    {
        _isWide = keySize >= sizeof(ulong);
        _last = _isWide ? ulong.MaxValue : (1UL << (8 * keySize)) - 1;
        _next = _last > FirstNarrow * 10 ? FirstNarrow : 0;
    }

    /// <summary>A key that this context has not in use. Give it back with <see cref="Release"/>.</summary>
    /// <returns>False where all are in use.</returns>
    public bool TryTake(out ulong key)
    {
        lock (_gate)
        {
            key = 0;
            if ((ulong)_inUse.Count > _last)
                return false;
            do
            {
                key = _isWide ? Random() : _next;
                _next = _next == _last ? 0 : _next + 1;
            }
            while (key == FiConstants.FI_KEY_NOTAVAIL || !_inUse.Add(key));
            return true;
        }
    }

    public void Release(ulong key)
    {
        lock (_gate)
            _inUse.Remove(key);
    }

    private static ulong Random()
    {
        ulong key = 0;
        RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(new Span<ulong>(ref key)));
        return key;
    }
}
