using System.Runtime.CompilerServices;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>A ring for one producer and one consumer, whose ends are on separate cache lines.</summary>
internal sealed class Ring<T>(int capacity)
{
    private readonly T[] _items = new T[capacity];
    private RingEnds _ends;

    public void Write(T item)
    {
        long at = _ends.Written;
        while (at - Volatile.Read(ref _ends.Read) >= _items.Length)
            Thread.SpinWait(1);
        _items[at % _items.Length] = item;
        Volatile.Write(ref _ends.Written, at + 1);
    }

    public T Read()
    {
        long at = _ends.Read;
        while (Volatile.Read(ref _ends.Written) == at)
            Thread.SpinWait(1);
        T item = _items[at % _items.Length];
        if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
            _items[at % _items.Length] = default!;
        Volatile.Write(ref _ends.Read, at + 1);
        return item;
    }
}
