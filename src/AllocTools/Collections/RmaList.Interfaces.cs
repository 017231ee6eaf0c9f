using System.Collections;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <content>The interfaces of lists, which have 32-bit counts and indices; and enumeration.</content>
public sealed partial class RmaList<T>
{
    T IList<T>.this[int index]
    {
        get => this[index];
        set => this[index] = value;
    }

    T IReadOnlyList<T>.this[int index] => this[index];

    int ICollection<T>.Count => ElementMemory.CountOf(_count);

    int IReadOnlyCollection<T>.Count => ElementMemory.CountOf(_count);

    bool ICollection<T>.IsReadOnly => false;

    void IList<T>.Insert(int index, T item) => Insert(index, item);

    void IList<T>.RemoveAt(int index) => RemoveAt(index);

    int IList<T>.IndexOf(T item)
    {
        _ = ElementMemory.CountOf(_count);
        return (int)IndexOf(item);
    }

    /// <summary>Copies all elements.</summary>
    /// <param name="array">The destination.</param>
    /// <param name="arrayIndex">The index of the first element in the destination.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is outside the array.</exception>
    /// <exception cref="ArgumentException">The array has no room for all of them.</exception>
    /// <exception cref="InvalidOperationException">There are more elements than an array can have.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public void CopyTo(T[] array, int arrayIndex)
    {
        ArgumentNullException.ThrowIfNull(array);
        if ((uint)arrayIndex > (uint)array.Length)
            throw new ArgumentOutOfRangeException(nameof(arrayIndex), $"Index {arrayIndex} is out of the array of {InWords.Count(array.Length, "element", "elements")}.");
        Span<T> elements = Span;
        if (elements.Length > array.Length - arrayIndex)
            throw new ArgumentException($"The list has {InWords.Count(elements.Length, "element", "elements")}, and the array has room for {InWords.Number(array.Length - arrayIndex)} from index {arrayIndex} on.", nameof(array));
        elements.CopyTo(array.AsSpan(arrayIndex));
    }

    /// <summary>Enumerates the elements by reference, without allocating. The list must not be changed during that.</summary>
    public Enumerator GetEnumerator() => new(this);

    IEnumerator<T> IEnumerable<T>.GetEnumerator()
    {
        foreach (T item in this)
            yield return item;
    }

    IEnumerator IEnumerable.GetEnumerator() => ((IEnumerable<T>)this).GetEnumerator();

    /// <summary>Enumerates the elements of a list.</summary>
    public struct Enumerator
    {
        private readonly RmaList<T> _list;
        private readonly int _version;
        private long _index;

        internal Enumerator(RmaList<T> list)
        {
            _list = list;
            _version = list._version;
            _index = -1;
        }

        /// <summary>The element, by reference.</summary>
        public readonly ref T Current => ref _list.GetReference(_index);

        /// <summary>Moves to the next element.</summary>
        /// <returns>False after the last one.</returns>
        /// <exception cref="InvalidOperationException">The list was changed meanwhile.</exception>
        /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
        public bool MoveNext()
        {
            ObjectDisposedException.ThrowIf(_list._isDisposed, _list);
            if (_version != _list._version)
                throw new InvalidOperationException("The list was changed while it was enumerated.");
            return ++_index < _list._count;
        }
    }
}
