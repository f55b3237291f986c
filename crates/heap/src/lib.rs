//! What the allocator keeps of memory that was freed, given back to the operating system.
//!
//! The allocator of the C library keeps what is freed for the next who asks, and gives back only what
//! lies at the end of its heap. After a burst there is always something at the end that stays, and
//! all before it is kept for ever. It has a function that gives back every page of it that is free, which is
//! all that is here. When to call it is for others to decide. This is the only crate with a word of
//! `unsafe`, and it must have no more than that.

/// Gives back every free page of the heap, of all threads. Returns whether that were any.
///
/// It takes about 0.3 ms for each MiB that is given back, and a thread that allocates or frees meanwhile may
/// wait for as long: so it is to be called often and not late, and not by a thread that others wait
/// for. What is used again afterwards costs a page fault for each page, as new memory does.
///
/// Where the C library is another one than GNU's, it does nothing.
pub fn give_back() -> bool {
    library::trim()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod library {
    use std::ffi::c_int;

    // SAFETY: the signature is that of malloc.h (glibc, malloc_trim(3)). It takes a number, any of which
    // is allowed, and no pointer; it may be called by any thread at any time (MT-Safe in the manual), as
    // it takes the locks of the allocator; and it touches nothing but pages that nobody has.
    #[expect(unsafe_code, reason = "the allocator has no other door")]
    unsafe extern "C" {
        safe fn malloc_trim(keep: usize) -> c_int;
    }

    pub(super) fn trim() -> bool {
        malloc_trim(0) == 1
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod library {
    pub(super) fn trim() -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;
    use std::fs;

    fn resident() -> usize {
        let text = fs::read_to_string("/proc/self/statm").expect("the kernel says it");
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
        pages.expect("a number") * 4_096
    }

    #[test]
    fn what_was_freed_before_something_that_stays_is_given_back() {
        let before = resident();
        let boxes: Vec<_> = (0..200_000).map(|number| Box::new([number; 40])).collect();
        let stays = Box::new([1u8; 500]);
        let most = resident() - before;
        assert!(most > 32 << 20, "{most} bytes");
        drop(boxes);
        assert!(give_back());
        let left = resident().saturating_sub(before);
        assert!(left < most / 4, "{left} of {most} bytes are left");
        assert_eq!(stays[7], 1);
    }
}
