namespace AllocTools.Tests.Model.Concurrent;

/// <summary>The expected counts of a <see cref="FullPool"/> when operations run one after the other.</summary>
internal sealed record FullPoolCounts
{
    public int Free { get; set; }

    public long Rents { get; set; }

    public long Rejections { get; set; }

    public void Rent()
    {
        if (Free == 0)
        {
            Rejections++;
            return;
        }
        Free--;
        Rents++;
    }

    public void Return() => Free++;
}
