//! Entries in one vector and doubly linked lists over it: removal from the middle without a search,
//! and no allocation per entry.

/// No entry.
const NONE: u32 = u32::MAX;

/// The entries and the places that are free.
#[derive(Debug)]
pub(super) struct Slab<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Node<T> {
    /// Nothing where the place is free.
    value: Option<T>,
    previous: u32,
    next: u32,
}

/// The ends of a list, and what is in it.
#[derive(Debug)]
pub(super) struct List {
    front: u32,
    back: u32,
    /// How many entries.
    pub(super) len: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Keeps a value, in no list yet. Nothing once there are 2^32 of them.
    pub(super) fn keep(&mut self, value: T) -> Option<u32> {
        let node = Node {
            value: Some(value),
            previous: NONE,
            next: NONE,
        };
        if let Some(place) = self.free.pop() {
            self.nodes[place as usize] = node;
            return Some(place);
        }
        let place = u32::try_from(self.nodes.len())
            .ok()
            .filter(|&at| at != NONE)?;
        self.nodes.push(node);
        Some(place)
    }

    /// Gives a value back that is in no list any more.
    pub(super) fn release(&mut self, place: u32) -> Option<T> {
        let value = self.nodes.get_mut(place as usize)?.value.take()?;
        self.free.push(place);
        Some(value)
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.nodes.get(place as usize)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.nodes.get_mut(place as usize)?.value.as_mut()
    }
}

impl List {
    pub(super) const fn new() -> Self {
        Self {
            front: NONE,
            back: NONE,
            len: 0,
        }
    }

    /// The entry that has been in it longest.
    pub(super) fn front(&self) -> Option<u32> {
        (self.front != NONE).then_some(self.front)
    }

    pub(super) fn push_back<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let node = &mut slab.nodes[place as usize];
        node.previous = self.back;
        node.next = NONE;
        match self.back {
            NONE => self.front = place,
            back => slab.nodes[back as usize].next = place,
        }
        self.back = place;
        self.len += 1;
    }

    pub(super) fn remove<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let node = &slab.nodes[place as usize];
        let (previous, next) = (node.previous, node.next);
        match previous {
            NONE => self.front = next,
            previous => slab.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.back = previous,
            next => slab.nodes[next as usize].previous = previous,
        }
        self.len -= 1;
    }
}
