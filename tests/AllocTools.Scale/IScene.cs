namespace AllocTools.Scale;

/// <summary>Something that a machine does, again and again, among N of something.</summary>
internal interface IScene : IDisposable
{
    /// <summary>Makes ready for a round. It is not measured.</summary>
    void Prepare()
    {
    }

    /// <summary>A round.</summary>
    /// <returns>How many operations it had.</returns>
    int Run();
}

/// <summary>A scene that is measured.</summary>
internal interface INamedScene : IScene
{
    /// <summary>What is done.</summary>
    static abstract string Name { get; }

    /// <summary>What there are N of.</summary>
    static abstract string Among { get; }

    /// <summary>The most of it that an option or a machine allows.</summary>
    static virtual int Most => int.MaxValue;

    static abstract IScene Open(Machine machine);
}
