using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Chooses the keys if the application must do so (without FI_MR_PROV_KEY).</summary>
/// <remarks>
/// A peer that has seen some keys can't guess another's (<see cref="KeyPermutation"/>), as far as their width allows,
/// and a key is reused only after all others. The first hundred keys, which are special on cxi, are not used if there
/// are enough others.
/// </remarks>
internal sealed class LibfabricKeys
{
    private const ulong SpecialKeys = 100;

    private readonly Lock _gate = new();
    private readonly HashSet<ulong> _inUse = [];
    private readonly KeyPermutation _permutation;
    private readonly ulong _last;
    private readonly ulong _first;
    private ulong _next;

    /// <param name="keySize">The width of keys in bytes; at most 8 are used.</param>
    public LibfabricKeys(int keySize)
    {
        int size = Math.Clamp(keySize, 1, sizeof(ulong));
        _permutation = new KeyPermutation(size);
        _last = ulong.MaxValue >> (64 - (8 * size));
        if (_last == FiConstants.FI_KEY_NOTAVAIL)
            _last--;
        _first = _last > SpecialKeys * 10 ? SpecialKeys : 0;
    }

    /// <summary>Takes a key that this context does not use. Return it with <see cref="Release"/>.</summary>
    /// <returns>False if all are in use.</returns>
    public bool TryTake(out ulong key)
    {
        lock (_gate)
        {
            key = 0;
            if ((ulong)_inUse.Count > _last - _first)
                return false;
            do
                key = _permutation.Permute(_next++);
            while (key < _first || key > _last || !_inUse.Add(key));
            return true;
        }
    }

    public void Release(ulong key)
    {
        lock (_gate)
            _inUse.Remove(key);
    }
}
